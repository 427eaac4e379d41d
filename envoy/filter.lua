-- The data-plane half of aigateway: on the way up it splices the edits Check decided into the request body, on the
-- way down it copies the provider's usage reports into dynamic metadata, for the access log, with what proves that the
-- answer ended, and drops the usage-only chunk the client did not ask for. Names and formats are those of the Go package
-- that embeds this file. Plain Lua 5.1. An answer may be hostile: nothing here may cost more than the time its bytes take
-- to pass, so no pattern has two repetitions in a row, and none but the anchored ends in one.
local REPORT = "aig"
local MAX_CAPTURE = 8192 -- longest value reported, but for usage
local MAX_USAGE = 16384 -- longest usage reported; a longer one is made shorter
local MAX_RAW = 262144 -- longest usage that is
local MAX_EVENT = 262144 -- longest event withheld, or kept until it is whole
local MAX_KEY = 16 -- longest member name looked for
local MAX_OTHERS, MAX_OTHERS_SIZE = 16, 32768 -- reports between the first and the last
local MAX_ITEMS, MAX_ID = 64, 128 -- ids of output items, and their length
local MAX_QUOTED = 4 -- times that an error may have been escaped
local MAX_CHOICES = 8192 -- choices whose end is noted
local SMALL_BODY = 8192 -- a body of so many bytes is got at once: a call of Envoy's costs as much as copying it
local MAX_GOT = 98304 -- bytes got of a larger one at once: LuaJIT maps what is from 128 KiB on, which costs as much again
local MAX_UNPACKED, MIN_UNPACKED, MAX_RATIO = 1048576, 65536, 64 -- bytes that a packed answer may hold: in all, and for each byte of its own
local MAX_PIECE = 16384 -- a piece of a stream this long may have waited for a client that did not read
local SEEN_AFTER = 500 -- milliseconds after which the report says again when output came

local byte, find, match, sub, concat = string.byte, string.find, string.match, string.sub, table.concat

-- Members looked for at the top, and one level down inside one of PARENT.
local TOP = { usage = true, model = true, service_tier = true, tool_usage = true, type = true, meta = true, id = true, error = true, status = true }
local INNER = { usage = true, model = true, service_tier = true, tool_usage = true }
local PARENT = { message = true, response = true, delta = true }
-- Arrays at the top whose elements are output.
local OUTPUT = { output = true, content = true, data = true, results = true }
-- Texts and numbers at the top that are output.
local SAID = { text = true, output_text = true, completion = true, embedding = true, embeddings = true, b64_json = true }
-- How deep members are looked for inside a member of the top.
local FLOOR = { choices = 3, output = 3 }
-- Bytes kept of a value; MAX_CAPTURE where none is said.
local LIMIT = { usage = MAX_RAW, meta = MAX_RAW, said = MAX_RAW, id = MAX_ID + 2, item = MAX_ID + 2, index = 16, finish_reason = 256, stop_reason = 256, text = 64 }
local REPORTED = { "model", "service_tier", "tool_usage" }
local WRITTEN = { "usage", "model", "service_tier", "tool_usage", "finished", "done", "output", "many", "framing", "unread", "id", "upstream_status", "seen" }
-- Event types that end an answer by themselves, and those that say nothing of its output.
local TERMINAL = {
  ['"response.completed"'] = true, ['"response.incomplete"'] = true, ['"response.failed"'] = true, ['"message_stop"'] = true,
  ['"image_generation.completed"'] = true, ['"image_edit.completed"'] = true, ['"speech.audio.done"'] = true,
  ['"transcript.text.done"'] = true,
}
local SILENT = { ['"ping"'] = true, ['"message_stop"'] = true }
-- States in which a document says that its answer is not finished.
local UNFINISHED = { ['"in_progress"'] = true, ['"queued"'] = true }

-- Request --------------------------------------------------------------------------------------------------------

local function unescape(hex) return string.char(tonumber(hex, 16)) end

-- The bytes of a body from one offset to another, behind the first n of out. Returns how many it has now.
local function get(out, n, body, at, to)
  repeat
    local size = to - at
    if size > MAX_GOT then size = MAX_GOT end
    n = n + 1
    out[n] = body:getBytes(at, size)
    at = at + size
  until at == to
  return n
end

-- Edits are "at del length:text", repeated, with %XX in the text. Anything unexpected is an error: the edit header then stays, and the RBAC
-- filter behind us refuses the request. A large body is got in the pieces that stay: each copy of it costs more than all else.
local function splice(body, edits)
  local out, n, pos, i, size, length = {}, 0, 0, 1, #edits, body:length()
  local whole = length <= SMALL_BODY and body:getBytes(0, length)
  if size == 0 then error("no edits") end
  while i <= size do
    local _, e, at, del, len = find(edits, "^(%d+) (%d+) (%d+):", i)
    if e == nil then error("malformed edits") end
    at, del, len = tonumber(at), tonumber(del), tonumber(len)
    if at < pos or at + del > length or e + len > size then error("edits do not fit the body") end
    local text = sub(edits, e + 1, e + len)
    if find(text, "%", 1, true) then text = string.gsub(text, "%%(%x%x)", unescape) end
    if whole then
      n = n + 1
      out[n] = sub(whole, pos + 1, at)
    else
      n = get(out, n, body, pos, at)
    end
    n = n + 1
    out[n] = text
    pos, i = at + del, e + len + 1
  end
  if whole then out[n + 1] = sub(whole, pos + 1) else get(out, n, body, pos, length) end
  return concat(out)
end

function envoy_on_request(h)
  local edits = h:headers():get("x-aig-int-edit")
  if edits == nil then return end
  local body = h:body()
  body:setBytes(splice(body, edits))
  local headers = h:headers() -- what was got of h before the body is stale now
  -- A query would reach the provider, and some let it pick what an answer says: Google's ?fields= hides usage.
  local path = headers:get(":path")
  if path and find(path, "?", 1, true) then headers:replace(":path", match(path, "^[^?]*")) end
  headers:remove("x-aig-int-edit") -- last: only a finished splice may pass
end

-- JSON -----------------------------------------------------------------------------------------------------------

-- A scanner takes JSON in pieces, cut anywhere, and keeps only the raw text of the members looked for. It finds its
-- way by strings, brackets and, near the top, commas and colons; it never holds more than the longest of them.
local function scanner(told)
  return {
    told = told, -- the report
    depth = 0, -- open brackets
    floor = 2, -- members are looked for down to this depth
    obj = {}, -- by depth: is it an object
    key = {}, -- by depth: the latest member name
    iskey = false, -- is the next string a member name
    instr = false, -- inside a string
    esc = false, -- the last piece ended in a backslash that escapes the next byte
    keep = nil, -- inside a member name worth keeping: its text so far
    nums = false, -- inside an array that may hold numbers only
    cap = nil, cap_depth = 0, parts = nil, size = 0, -- the value being captured: as what, where, its text in earlier pieces
    found = {}, -- raw text by name
    fresh = false, -- a report was found since the flag was cleared
    top = false, -- the last usage stood at the top
    choices = nil, -- is the array of choices empty; nil: there is none
    nth = 0, index = nil, finish = false, -- of the choice being read
    ends = nil, -- choices that finished
    stopped = false, -- a delta at the top gives a reason for the end
    output = false, -- there is output
    known = false, -- there is a member that output would be in, or an error
    tail = nil, -- the end of the text so far
    chunks = false, -- its choices are parts of what a stream says
    failed = false, -- it tells of an error
    opened = false,
    documents = 0, -- objects that began at the top
    counted = 0, -- the one that the last usage is in
  }
end

-- s without blanks around it; nil when there is nothing else.
local function trim(s)
  local from, to = find(s, "%S"), #s
  if from == nil then return nil end
  local c = byte(s, to)
  while c == 32 or c >= 9 and c <= 13 do
    to = to - 1
    c = byte(s, to)
  end
  return sub(s, from, to)
end

-- Is a run of bytes beyond ASCII UTF-8 (RFC 3629)?
local function is_utf8(s)
  local i, n = 1, #s
  while i <= n do
    local c, low, high = byte(s, i), 128, 191
    local length = c >= 194 and c < 224 and 2 or c >= 224 and c < 240 and 3 or c >= 240 and c < 245 and 4
    if not length or i + length - 1 > n then return false end
    if c == 224 then low = 160 elseif c == 237 then high = 159 elseif c == 240 then low = 144 elseif c == 244 then high = 143 end
    for k = i + 1, i + length - 1 do
      c = byte(s, k)
      if c < low or c > high then return false end
      low, high = 128, 191
    end
    i = i + length
  end
  return true
end

local function marked(run) return not is_utf8(run) and string.rep("?", #run) or nil end

-- The text as Envoy's logs keep it: metadata ends at a zero, and what is no UTF-8 gets longer in them, so that the lengths
-- of the report would be wrong.
local function loggable(s)
  if s and find(s, "[^\1-\127]") then return (string.gsub(s, "[^\1-\127]+", marked)) end
  return s
end

-- The index of the quote that ends the string beginning at i; n when there is none.
local function quote_end(s, i, n)
  while true do
    i = find(s, '"', i + 1, true)
    if i == nil then return n end
    local k = i - 1
    while byte(s, k) == 92 do k = k - 1 end
    if (i - k) % 2 == 1 then return i end
  end
end

-- The index of the bracket that ends the value beginning at i; n when there is none.
local function bracket_end(s, i, n)
  local d = 0
  while true do
    i = find(s, '["%[%]{}]', i)
    if i == nil then return n end
    local c = byte(s, i)
    if c == 34 then
      i = quote_end(s, i, n)
    elseif c == 123 or c == 91 then
      d = d + 1
    else
      d = d - 1
      if d == 0 then return i end
    end
    i = i + 1
  end
end

-- A usage object without what no count can be in: long texts, long arrays, deep nesting. What is dropped leaves a text,
-- so that whoever needs it does not take it for absent.
local function shorten(s)
  local out, m, i, n, d, name = {}, 0, 1, #s, 0, nil
  while i <= n do
    local c, e = byte(s, i), i
    local piece
    if c == 34 then
      e = quote_end(s, i, n)
      piece = e - i < MAX_ID and sub(s, i, e) or '"dropped"'
      name = piece
    elseif c == 123 or c == 91 then
      if d > 3 or c == 91 and name ~= '"iterations"' then
        e = bracket_end(s, i, n)
        piece = e - i < 256 and sub(s, i, e) or '"dropped"'
      else
        d = d + 1
      end
    elseif c == 125 or c == 93 then
      d = d - 1
    elseif c == 32 or c >= 9 and c <= 13 then
      e, piece = (find(s, "%S", i) or n + 1) - 1, ""
    elseif c ~= 44 and c ~= 58 then
      e = (find(s, '[,:"%[%]{}%s]', i) or n + 1) - 1
      piece = e - i < MAX_ID and sub(s, i, e) or '"dropped"'
    end
    m = m + 1
    out[m] = piece or sub(s, i, e)
    i = e + 1
  end
  return concat(out)
end

-- Do two reports differ by numbers only, none of which makes b cheaper than a? Counts of what was cached may not grow:
-- more of it costs less.
local NUMBER = "%d[%d.eE+-]*"
local function grows(a, b)
  local i, j = 1, 1
  while true do
    local x, y = find(a, NUMBER, i)
    local v, w = find(b, NUMBER, j)
    local text = sub(a, i, (x or 0) - 1)
    if text ~= sub(b, j, (v or 0) - 1) then return false end
    if x == nil or v == nil then return x == v end
    local m, n = sub(a, x, y), sub(b, v, w)
    if m ~= n then
      m, n = tonumber(m), tonumber(n)
      if m == nil or n == nil or m > n or find(text, "cach", 1, true) or find(text, "hit", 1, true) then return false end
    end
    i, j = y + 1, w + 1
  end
end

-- told is the report so far; told.changed: the metadata does not say it yet.
local function tell(told, name, value)
  if told[name] == value then return end
  told[name], told.changed = value, true
end

-- The next usage report; nil: it is too long. Of those between the first and the last, only what may be dearer than the
-- one after it is kept.
local function record(told, raw)
  local last = told.usage
  if last and last ~= "" and last ~= raw and last ~= told.first and not (told.kept and told.kept[last]) and not (raw and grows(last, raw)) then
    local others = told.others or {}
    told.others, told.kept = others, told.kept or {}
    if #others < MAX_OTHERS and told.others_size + #last <= MAX_OTHERS_SIZE then
      others[#others + 1] = last
      told.others_size = told.others_size + #last
      told.kept[last] = true
    else
      tell(told, "many", "true")
    end
  end
  told.first = told.first or raw
  tell(told, "usage", raw or "")
end

local function take_usage(sc, raw, depth)
  if raw and byte(raw, 1) ~= 123 then return end
  sc.top, sc.counted = depth == 1, sc.documents
  if raw and find(raw, "%S", 2) == #raw then return end -- {} says nothing
  if raw and #raw > MAX_USAGE then
    raw = shorten(raw)
    if #raw > MAX_USAGE then raw = nil end
  end
  sc.fresh = true
  record(sc.told, raw)
end

-- The text of a JSON string that needs no unescaping; nil for anything else.
local function plain(raw)
  if byte(raw, 1) ~= 34 or #raw < 3 or find(raw, "\\", 1, true) then return nil end
  return sub(raw, 2, -2)
end

local function take_item(told, raw)
  local id, items = plain(raw), told.items or {}
  if id == nil or items["id " .. id] or #items >= MAX_ITEMS then return end
  items["id " .. id], items[#items + 1] = true, id
  told.items, told.changed = items, true
end

local function ends(sc, index)
  sc.ends = sc.ends or {}
  if #sc.ends < MAX_CHOICES then sc.ends[#sc.ends + 1] = index end
end

-- What the value of a captured member says; raw is nil when it is too long.
local function take(sc, name, raw, depth)
  if name == "usage" then
    take_usage(sc, raw, depth)
  elseif name == "said" then
    sc.output = sc.output or raw == nil or find(raw, '^["%[]') ~= nil and raw ~= '""' and raw ~= "[]" -- {} are settings
  elseif name == "text" then
    sc.output = sc.output or raw == nil or find(raw, '^["%[{]') ~= nil and raw ~= '""' and find(raw, "^[%[{]%s*[%]}]$") == nil
  elseif name == "finish_reason" or name == "stop_reason" then
    local reason = raw and plain(raw)
    if reason == nil or reason == "null" then return end
    if name == "stop_reason" then sc.stopped = true else sc.finish = true end
  elseif name == "index" then
    sc.index = raw and tonumber(raw)
  elseif name == "item" then
    if raw then take_item(sc.told, raw) end
  elseif name == "id" then
    local id = raw and plain(raw)
    if id and (depth > 1 or sc.told.id == nil) then tell(sc.told, "id", id) end
  elseif name == "error" then
    sc.failed = raw ~= "false" and raw ~= '""' and raw ~= "{}"
  elseif name == "meta" then
    if raw == nil or not find(raw, '"billed_units"', 1, true) then return end
    if sc.found.meta then -- each is a report
      take_usage(sc, sc.found.meta, 1)
      sc.metas = true
    end
    sc.found.meta = raw
  elseif raw ~= '""' then
    sc.found[name] = raw
  end
end

local function capture_end(sc, piece)
  local name, parts, raw = sc.cap, sc.parts, nil
  if sc.size + #piece <= (LIMIT[name] or MAX_CAPTURE) then
    if parts then
      parts[#parts + 1] = piece
      piece = concat(parts)
    end
    raw = loggable(trim(piece))
  else
    raw = false
  end
  sc.cap, sc.parts, sc.size = nil, nil, 0
  if raw ~= nil and raw ~= "null" then take(sc, name, raw or nil, sc.cap_depth) end
end

-- What to capture the value of member k at depth d as; nil: nothing. Says how deep to look inside.
local function wanted(sc, d, k)
  local key, obj = sc.key, sc.obj
  local parent = key[1]
  if d == 1 then
    sc.floor = FLOOR[k] or 2
    if SAID[k] or OUTPUT[k] or k == "choices" or k == "error" then sc.known = true end
    if SAID[k] then return not sc.output and "said" or nil end
    return TOP[k] and not (k == "type" and sc.found.type) and k or nil
  elseif d == 2 then
    if parent == "response" then sc.floor = k == "output" and 4 or 2 end
    if k == "id" then return (parent == "response" or parent == "message") and "id" or parent == "item" and "item" or nil end
    if k == "stop_reason" then return parent == "delta" and k or nil end
    if k == "content" and parent == "message" or k == "output_text" and parent == "response" then return not sc.output and "text" or nil end
    return INNER[k] and PARENT[parent] and k or nil
  elseif parent == "response" then
    return d == 4 and k == "id" and key[2] == "output" and not obj[3] and "item" or nil
  elseif obj[2] then
    return nil
  elseif parent == "output" then
    return d == 3 and k == "id" and "item" or nil
  elseif parent == "choices" then
    if d == 4 then return k ~= "role" and not sc.output and "text" or nil end
    sc.floor = (k == "delta" or k == "message") and obj[3] and not sc.output and 4 or 3
    return (k == "text" or k == "index" or k == "finish_reason") and k or nil
  end
end

-- An element of an array at the top begins.
local function element(sc, object)
  local parent = sc.key[1]
  if parent == "choices" then
    sc.choices = "full"
    if object then sc.nth, sc.index, sc.finish = sc.nth + 1, nil, false end
  elseif OUTPUT[parent] then
    sc.output = true
  end
end

-- The end of the string that s continues at i: the index of its closing quote, or nil when it goes on.
local function string_end(sc, s, i, n)
  while true do
    local q = find(s, '"', i, true)
    local k = (q or n + 1) - 1
    local last = k
    while k >= i and byte(s, k) == 92 do k = k - 1 end
    local escaped = (last - k) % 2 == 1
    if q == nil then
      sc.esc = escaped
      return nil
    end
    if not escaped then return q end
    i = q + 1
  end
end

-- Passes over what is nested too deep to matter, from i at depth d until depth floor is reached, and returns where it
-- stopped and the depth there. It also stops at what scan does better: a string with a backslash at its end, one that
-- does not end in s, and an array of numbers.
local function skip(s, i, n, d, floor)
  while i <= n do
    local c = byte(s, i)
    if c == 34 then
      local q = find(s, '"', i + 1, true)
      if q == nil or byte(s, q - 1) == 92 then break end
      i = q
    elseif c == 123 or c == 91 then
      if c == 91 then
        local b = byte(s, i + 1)
        if b == nil or b == 45 or b >= 48 and b <= 57 then break end
      end
      d = d + 1
    elseif c == 125 or c == 93 then
      d = d - 1
      if d <= floor then return i + 1, d end
    end
    i = i + 1
  end
  return i, d
end

-- Bytes that mean something outside of strings.
local STOP = { [34] = true, [44] = true, [58] = true, [91] = true, [93] = true, [123] = true, [125] = true }

local function scan(sc, s)
  local n, i = #s, 1
  if n == 0 then return end
  local from, kfrom = 1, 1 -- where in s the captured value and the kept name go on
  local nquote, nopen, nbrace, nshut, nclose = 0, 0, 0, 0, 0 -- the next of each character, n + 1 for none; stale when below i
  if sc.esc then
    sc.esc = false
    i = 2
  end
  while i <= n do
    if sc.instr then
      local q = string_end(sc, s, i, n)
      if q == nil then break end
      if sc.keep then
        local name = sc.keep
        if #name + q - kfrom <= MAX_KEY then name = name .. sub(s, kfrom, q - 1) else name = "" end
        sc.key[sc.depth], sc.keep = name, nil
      end
      sc.instr = false
      i = q + 1
    elseif sc.nums then
      -- Embeddings are megabytes of numbers: jump to the closing bracket if nothing else can come before it.
      if nclose < i then nclose = find(s, "]", i, true) or n + 1 end
      if nquote < i then nquote = find(s, '"', i, true) or n + 1 end
      if nopen < i then nopen = find(s, "[", i, true) or n + 1 end
      if nbrace < i then nbrace = find(s, "{", i, true) or n + 1 end
      if nshut < i then nshut = find(s, "}", i, true) or n + 1 end
      local p = nclose
      if nquote < p or nopen < p or nbrace < p or nshut < p then
        sc.nums = false
      else
        sc.nums = p > n
        i = p
      end
    else
      local d, cap = sc.depth, sc.cap
      local floor = cap and sc.cap_depth or sc.floor
      if d > floor then
        i, d = skip(s, i, n, d, floor)
        sc.depth, sc.iskey = d, false
      end
      local p, c = i, byte(s, i)
      while c and not STOP[c] do
        p = p + 1
        c = byte(s, p)
      end
      if sc.choices == "empty" and d == 2 and sc.key[1] == "choices" and c ~= 123 and c ~= 91 and (c ~= 93 or p > i) and find(s, "%S", i) ~= (c == 93 and p or nil) then
        sc.choices, sc.output = "full", true -- of no objects
      end
      if c == nil then break end
      if c == 34 then
        local q = find(s, '"', p + 1, true)
        local named = sc.iskey and cap == nil and d <= sc.floor
        if q and byte(s, q - 1) ~= 92 then -- the usual string
          if named then sc.key[d] = q - p - 1 <= MAX_KEY and sub(s, p + 1, q - 1) or "" end
          p = q
        else
          sc.instr = true
          if named then sc.keep, kfrom = "", p + 1 end
        end
      elseif c == 123 or c == 91 then
        d = d + 1
        sc.depth, sc.opened = d, true
        if d == 1 then
          sc.key[1], sc.floor = nil, 2
          if c == 123 then sc.documents, sc.nth, sc.found.type = sc.documents + 1, 0, nil end
        end
        if d <= 4 then
          sc.obj[d] = c == 123
          if cap == nil then
            if d == 3 and not sc.obj[2] then
              element(sc, c == 123)
            elseif d == 4 and sc.key[1] == "response" and sc.key[2] == "output" and not sc.obj[3] then
              sc.output = true
            elseif d == 4 and c == 123 and sc.key[1] == "choices" and sc.key[3] == "delta" and sc.obj[3] then
              sc.chunks = true -- null is nothing
            elseif d == 2 and c == 91 and sc.key[1] == "choices" and sc.choices == nil then
              sc.choices, sc.nth = "empty", 0
            end
          end
        end
        sc.iskey = c == 123
        if c == 91 and d > 2 then
          local b = byte(s, p + 1)
          sc.nums = b == nil or b == 45 or (b >= 48 and b <= 57)
        end
      elseif c == 58 then
        sc.iskey = false
        local k = sc.key[d]
        if cap == nil and k and d <= sc.floor and sc.obj[d] then
          local name = wanted(sc, d, k)
          if name then
            sc.cap, sc.cap_depth = name, d
            from = p + 1
          end
          if d > 3 then sc.key[d] = nil end
        end
      else -- a comma or a closing bracket
        if cap and sc.cap_depth == d then capture_end(sc, sub(s, from, p - 1)) end
        if c == 44 then
          sc.iskey = sc.obj[d] == true
        else
          if sc.finish and d == 3 and c == 125 then
            ends(sc, sc.index or sc.nth - 1)
            sc.finish = false
          end
          sc.depth, sc.iskey = d - 1, false
        end
      end
      i = p + 1
    end
  end
  if sc.cap then
    sc.size = sc.size + n - from + 1
    if sc.size <= (LIMIT[sc.cap] or MAX_CAPTURE) then
      local parts = sc.parts or {}
      parts[#parts + 1], sc.parts = sub(s, from), parts
    end
  end
  if sc.keep then
    if #sc.keep + n - kfrom + 1 <= MAX_KEY then
      sc.keep = sc.keep .. sub(s, kfrom)
    else
      sc.keep = nil
      sc.key[sc.depth] = nil
    end
  end
end

-- Reporting ------------------------------------------------------------------------------------------------------

local function report()
  return { others_size = 0, got = 0, put = 0 }
end

-- What stands beside a report.
local function tell_found(told, found)
  for i = 1, #REPORTED do
    local value = found[REPORTED[i]]
    if value then tell(told, REPORTED[i], value) end
  end
end

-- Without a report it means nothing.
local function tell_output(told)
  if told.usage then tell(told, "output", "true") else told.output = "true" end
end

local function write(out, n, name, value)
  out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] = name, " ", #value, ":", value
  return n + 5
end

-- Writes the report as "name length:value", repeated: each write costs, and one text is the cheapest. It is written
-- whenever a chunk changed it, as the next one may never come. An answer that changes it again and again with few bytes
-- is not followed any further: its last report then says so.
local function publish(h, told)
  if not told.changed or told.closed then return end
  told.changed = false
  if told.put > 65536 + 64 * told.got then told.many, told.closed = "true", true end
  local out, n = {}, 0
  for i = 1, #WRITTEN do
    local name = WRITTEN[i]
    local value = told[name]
    if value then n = write(out, n, name, value) end
  end
  if told.first and told.first ~= told.usage then n = write(out, n, "first_usage", told.first) end
  for i = 1, told.others and #told.others or 0 do n = write(out, n, "other_usage", told.others[i]) end
  for i = 1, told.items and #told.items or 0 do n = write(out, n, "item", told.items[i]) end
  local text = concat(out)
  told.put = told.put + #text
  h:streamInfo():dynamicMetadata():set(REPORT, "report", text)
end

-- What was delivered ---------------------------------------------------------------------------------------------

-- Where a provider stops when its client leaves, and shows all that it generates, the bytes of the output bound its
-- tokens. They are counted as JSON writes them, which is never less, and rather too many than too few: what is not known
-- counts whole.

local SAYS_NOTHING = { ping = true, content_block_stop = true, error = true }
-- Models write arguments in forms of their own, of which the longest takes some 17 tokens where JSON has 6 bytes.
local ARGUMENTS = { ['"arguments"'] = 3, ['"partial_json"'] = 3 }

-- The bytes of the texts in the value at i, without names and types, and where it ends.
local function texts(s, i, n, weight)
  local c = byte(s, i)
  if c == 34 then
    local e = quote_end(s, i, n)
    return (e - i - 1) * weight, e
  elseif c == 110 then -- null
    return 0, i
  elseif c ~= 123 and c ~= 91 then
    return n, n
  elseif sub(s, i, i + 11) == '{"content":"' then -- nearly every one
    local e = quote_end(s, i + 11, n)
    if byte(s, e + 1) == 125 then return e - i - 12, e + 1 end
  end
  local total, d, name = 0, 0, nil
  while true do
    i = find(s, '["%[%]{}]', i)
    if i == nil then return total, n end
    c = byte(s, i)
    if c == 34 then
      local e = quote_end(s, i, n)
      if byte(s, e + 1) == 58 then
        name = e - i < MAX_KEY and sub(s, i, e) or nil
      elseif name ~= '"type"' or e - i > 32 then
        total = total + (e - i - 1) * (ARGUMENTS[name] or weight)
      end
      i = e
    elseif c == 123 or c == 91 then
      d = d + 1
    else
      d = d - 1
      if d <= 0 then return total, i end
    end
    i = i + 1
  end
end

-- The same of every member of this name, quotes and colon included; nil: there is none. Each is a token at least.
local function texts_of(s, name, weight)
  local n = #s
  local _, e = find(s, name, 1, true)
  if e == nil then return nil end
  local total, got = 0, 0
  repeat
    got, e = texts(s, find(s, "[^ \t]", e + 1) or n + 1, n, weight)
    total = total + (got > 0 and got or 1)
    _, e = find(s, name, e + 1, true)
  until e == nil
  return total
end

-- The output in s, an event or several of an API that does not name its events, and, when it repeats a whole item, that.
local function output_in(s)
  local got = texts_of(s, '"delta":', find(s, "arguments.delta", 1, true) and 3 or 1)
  if got then return got, 0 end
  if find(s, "data", 1, true) == nil then return 0, 0 end -- only comments, or names
  local kind = match(s, '"type": ?"([%w_.]+)"')
  if kind == "response.output_item.done" then
    return 0, texts_of(s, '"item":', 1) or #s
  elseif kind == "response.output_item.added" then
    return texts_of(s, '"item":', 1) or #s, 0
  elseif kind == "content_block_start" then
    return texts_of(s, '"content_block":', 1) or #s, 0
  elseif kind and (sub(kind, 1, 9) == "response." or sub(kind, 1, 8) == "message_" or SAYS_NOTHING[kind]) then
    return 0, 0
  elseif kind == nil and (find(s, '"choices":[]', 1, true) or find(s, '"choices": []', 1, true) or find(s, "[DONE]", 1, true)) then
    return 0, 0
  end
  return kind == nil and texts_of(s, '"text":', 1) or #s, 0 -- of legacy completions
end

-- Notes the output of whole events.
local function see(st, s)
  local got, item = output_in(s)
  if got + item > 0 then st.seen, st.items, st.moved = st.seen + got, st.items + item, true end
end

-- Says after a piece of n bytes what was seen: a mark ahead of it, so that few pieces have to say it anew, and when the
-- last output came with nothing unfinished behind it. A long piece may have waited while the client did not read, and
-- more of the answer behind it: then the bytes prove nothing any more.
local function tell_seen(h, st, n)
  if n >= MAX_PIECE then
    st.counts = false
    tell(st.told, "seen", nil)
  elseif st.moved then
    st.moved = false
    if st.start then st.seen_at = tonumber(h:timestamp()) end
    local seen = st.seen > st.items and st.seen or st.items
    if seen > st.mark or st.seen_at - st.told_at >= SEEN_AFTER then
      st.mark, st.told_at = seen + (seen - seen % 8) / 8 + 32, st.seen_at
      tell(st.told, "seen", string.format("%d %.0f", st.mark, st.seen_at))
    end
  end
end

-- Server-sent events ---------------------------------------------------------------------------------------------

-- Where the name in quotes ends, from pos on. It is given without its first quote, since a search stops wherever its
-- first byte is: at every quote, or at few letters.
local function quoted(s, name, pos)
  local b, e = find(s, name, pos, true)
  while b and byte(s, b - 1) ~= 34 do b, e = find(s, name, e + 1, true) end
  return e
end

-- Does the text hold a member of this name, see quoted, whose value may be of interest? Most chunks say null. what is
-- the byte such a value begins with; nil: any but that of null.
local function has_value(s, name, what)
  local e = quoted(s, name, 1)
  while e do
    local c = byte(s, e + 1)
    if c == 58 then
      c = byte(s, e + 2)
      if c == 34 and byte(s, e + 3) == 34 then c = 110 end -- "" says as little as null
      if c ~= 110 and c ~= 34 and c ~= 123 then c = byte(s, find(s, "[^ \t]", e + 2) or #s + 1) end
    else
      local p = find(s, "[^ \t]", e + 1)
      c = p and byte(s, p)
      if c == 58 then c = byte(s, find(s, "[^ \t]", p + 1) or #s + 1) end
    end
    if c == what or c == 10 or c == 13 or what == nil and c ~= 110 then return true end
    e = quoted(s, name, e + 1)
  end
  return false
end

local function mentions_usage(s) return has_value(s, 'usage"', 123) end

local function mentions_end(s)
  return quoted(s, 'type"', 1) or find(s, "[DONE]", 1, true) or has_value(s, 'finish_reason"')
end

-- The data of an event: its data lines, joined; nil when it has none.
local function data_of(ev)
  local e = find(ev, "[\r\n]")
  if sub(ev, 1, 5) == "data:" and (e == nil or find(ev, "[^\r\n]", e) == nil) then
    return sub(ev, byte(ev, 6) == 32 and 7 or 6, (e or #ev + 1) - 1)
  end
  local lines
  for line in string.gmatch(ev, "[^\r\n]+") do
    local text
    if sub(line, 1, 5) == "data:" then
      text = sub(line, byte(line, 6) == 32 and 7 or 6)
    elseif line == "data" then
      text = ""
    end
    if text then
      lines = lines or {}
      lines[#lines + 1] = text
    end
  end
  return lines and concat(lines, "\n")
end

-- Is an event of this type, in quotes, output?
local function is_output(kind)
  return byte(kind) == 34 and (find(kind, "delta", 1, true) and kind ~= '"message_delta"' or find(kind, "content_block_start", 1, true)
    or find(kind, "output_item", 1, true))
end

-- The answer is over, as its format says. The last report is the last word if no output came after it.
local function settle_done(st)
  tell(st.told, "done", st.ended and not st.late and "true" or nil)
  st.watch = st.told.output == nil or st.told.usage ~= nil and not st.outdated
end

-- An event with output, or with nothing that an answer ends with, makes a report before it no more than a lower bound.
local function after_report(st, output)
  if st.told.usage == nil then return end
  st.late = true
  if output then
    st.outdated = true
    tell(st.told, "finished", nil)
  end
end

local function count_ends(st, list)
  for i = 1, #list do
    local index = list[i]
    if not st.finished[index] and st.count < MAX_CHOICES then
      st.finished[index] = true
      st.count = st.count + 1
    end
  end
end

-- What an event says before the first report stands beside that, which some send without it.
local function remember(st, found)
  for i = 1, #REPORTED do
    local name = REPORTED[i]
    if found[name] then
      st.early = st.early or {}
      st.early[name] = found[name]
    end
  end
end

-- Does an event without output say nothing but why the answer, or each of its choices, ended?
local function only_ends(sc, kind)
  if sc.documents ~= 1 then return false end
  if kind == '"message_delta"' then return sc.stopped end
  return kind == nil and sc.ends ~= nil and #sc.ends == sc.nth
end

-- Takes over what one event says, and tells whether it is the chunk to strip: no choices, only usage.
local function conclude(st, sc)
  local told, kind = st.told, sc.found.type
  local output = sc.output or kind ~= nil and is_output(kind) and true
  if sc.ends then count_ends(st, sc.ends) end
  if sc.stopped and kind == '"message_delta"' then count_ends(st, { 0 }) end
  if told.usage == nil then
    remember(st, sc.found)
  else
    if st.early then tell_found(told, st.early) end
    st.early = nil
    tell_found(told, sc.found)
  end
  local begun = told.output -- before this event
  if output then tell_output(told) end
  if sc.fresh then
    st.late, st.outdated, st.over = false, false, TERMINAL[kind or ""]
    st.summed = begun and not output and sc.choices ~= "full" and (kind == nil or kind == '"message_delta"')
    tell(told, "finished", st.count > 0 and tostring(st.count) or nil)
    if sc.counted ~= sc.documents then after_report(st, output) end -- in one event with it
  elseif output or sc.failed or not (st.summed and only_ends(sc, kind))
    and (sc.choices == "full" or kind and not SILENT[kind] and (not st.over or kind == '"error"')) then
    after_report(st, output)
  end
  st.ended = st.ended or TERMINAL[kind or ""]
  settle_done(st)
  return st.strip and sc.depth == 0 and sc.documents == 1 and sc.top and told.usage ~= "" and sc.choices == "empty"
end

local function on_event(st, ev)
  if st.counts then see(st, ev) end
  local usage = mentions_usage(ev)
  if not usage and not st.watch and not mentions_end(ev) then return false end
  local data = data_of(ev)
  if data == nil then return false end
  local mark = find(data, "[DONE]", 1, true)
  if mark and (mark == 1 or byte(data, mark - 1) == 10) and not find(data, "%S", mark + 6) then
    st.ended = true
    if mark == 1 then
      settle_done(st)
      return false
    end
    local sc = scanner(st.told) -- no blank line came before the mark
    scan(sc, sub(data, 1, mark - 2))
    conclude(st, sc)
    return false
  end
  if not usage then -- most events of the APIs that name them
    local kind = match(data, '^{"type": ?("[%w_.]+")')
    if kind and find(kind, 'delta"', 1, true) and kind ~= '"message_delta"' then
      tell_output(st.told)
      after_report(st, true)
      settle_done(st)
      return false
    end
  end
  local sc = scanner(st.told)
  scan(sc, data)
  return conclude(st, sc)
end

local function stream(strip, counts)
  return {
    strip = strip, -- withhold unfinished events, drop the usage-only one
    told = report(),
    counts = counts, -- say what was seen of the output
    seen = 0, items = 0, -- bytes of it in parts, and in whole items, which repeat them
    mark = 0, told_at = 0, -- the report says so many, since when
    moved = false, seen_at = 0, -- there is more since; when the last of it came, 0 for never
    watch = true, -- look at every event: there was no output yet, or none since the last report
    early = nil, -- what stood beside no report yet
    ended = false, -- the end mark came
    over = nil, -- the last report came with the event that ends an answer: what follows and says nothing changes nothing
    late = false, -- something else than the end came after the last report
    outdated = false, -- output did
    summed = false, -- it came by itself behind output: a reason for the end may follow it
    finished = {}, count = 0, -- the choices that gave a reason for their end
    start = true, -- between events
    drop_lf = false, -- the dropped event ended in CR: an LF now belongs to it
    comment = false, -- inside a comment line between events
    eol = 0, -- inside an event: 0 within a line, 1 after a line, 2 after a line that ended in CR
    cr = false, -- the stream has a CR somewhere
    big = nil, -- the event is over MAX_EVENT, passes through and is read piece by piece
    parts = {}, held = 0, -- the unfinished event's text and size
  }
end

-- The index in s, from pos on, of the last byte of the event's blank line; nil when it goes on. An LF that may follow
-- a final CR is not part of it.
local function event_end(st, s, pos, n)
  local eol = st.eol
  if not st.cr then
    if eol == 1 and byte(s, pos) == 10 then return pos end
    local _, b = find(s, "\n\n", pos, true)
    if b == nil then st.eol = byte(s, n) == 10 and 1 or 0 end
    return b
  end
  while pos <= n do
    local c = byte(s, pos)
    if eol == 2 and c == 10 then
      eol, pos = 1, pos + 1
    elseif eol > 0 and (c == 10 or c == 13) then
      return pos
    else
      local e = find(s, "[\r\n]", pos)
      if e == nil then
        eol = 0
        break
      end
      eol, pos = byte(s, e) == 13 and 2 or 1, e + 1
    end
  end
  st.eol = eol
  return nil
end

-- An event that is read without being kept: its data lines go to a scanner as they come.
local function big_event(st)
  return { sc = scanner(st.told), head = "", data = nil, lines = 0 } -- data: nil until the line says what it is
end

local function feed_big(big, s)
  local pos, n = 1, #s
  while pos <= n do
    local e = find(s, "[\r\n]", pos)
    local line = sub(s, pos, (e or n + 1) - 1)
    if big.data == nil then
      local head = big.head .. sub(line, 1, 6 - #big.head)
      line = sub(line, #head - #big.head + 1)
      big.head = head
      if #head == 6 or e then -- "data:" and what follows it
        big.data = sub(head, 1, 5) == "data:"
        if big.data then
          if big.lines > 0 then scan(big.sc, "\n") end
          big.lines = big.lines + 1
          if byte(head, 6) ~= 32 then scan(big.sc, sub(head, 6)) end
        end
      end
    end
    if big.data then scan(big.sc, line) end
    if e == nil then return end
    big.head, big.data = "", nil
    pos = e + 1
  end
end

-- The unfinished event, which goes on with s, gets too long to be kept.
local function begin_big(st, s)
  if st.counts then -- it is not kept, and so not counted
    st.counts = false
    tell(st.told, "seen", nil)
  end
  st.big = big_event(st)
  if st.held > 0 then feed_big(st.big, concat(st.parts)) end
  feed_big(st.big, s)
  st.parts, st.held = {}, 0
end

local function end_big(st, s)
  feed_big(st.big, s)
  conclude(st, st.big.sc)
  st.big = nil
end

-- Takes one piece of the stream and returns what the client gets of it now; nil: the piece as it is.
local function feed(st, s)
  local n, pos = #s, 1
  st.cr = st.cr or find(s, "\r", 1, true) ~= nil
  if st.start and not st.watch and not st.comment and not st.cr and byte(s, n) == 10 and byte(s, n - 1) == 10
    and not mentions_usage(s) and not mentions_end(s) then
    if st.counts then see(st, s) end
    return nil -- whole events with nothing in them for us: nearly every chunk
  end
  local out, emit = nil, 1 -- emit: the first byte of s that out does not hold yet
  local from = 1 -- where the event begins, or goes on, in s
  local strip = st.strip
  while pos <= n do
    if st.comment then
      local e = find(s, "[\r\n]", pos)
      if e == nil then break end
      st.comment, pos = false, e + 1
    elseif st.start then
      local c, drop_lf = byte(s, pos), st.drop_lf
      st.drop_lf = false
      if c == 10 and drop_lf then
        out = out or {}
        out[#out + 1] = sub(s, emit, pos - 1)
        emit, pos = pos + 1, pos + 1
      elseif c == 10 or c == 13 or c == 239 or c == 187 or c == 191 then -- a blank line, the rest of a line end, a byte order mark
        pos = pos + 1
      elseif c == 58 then
        st.comment = true
      else
        st.start, st.eol, from = false, 0, pos
      end
    else
      local b = event_end(st, s, pos, n)
      if b == nil then break end
      local drop, held = false, st.held > 0 and strip and concat(st.parts)
      if st.big then
        end_big(st, sub(s, from, b))
      elseif st.held + b - from + 1 > MAX_EVENT then
        begin_big(st, "")
        end_big(st, sub(s, from, b))
      else
        local ev = sub(s, from, b)
        if st.held > 0 then ev = (held or concat(st.parts)) .. ev end
        drop = on_event(st, ev)
      end
      if drop then
        out = out or {}
        out[#out + 1] = sub(s, emit, from - 1)
        emit = b + 1
      elseif held then
        out = { held } -- held means the event began before s: nothing of s is out yet
      end
      if st.held > 0 then st.parts, st.held = {}, 0 end
      st.start = true
      st.drop_lf = drop and byte(s, b) == 13
      pos, from = b + 1, b + 1
    end
  end
  if not st.start then
    local rest = sub(s, from)
    if st.big then
      feed_big(st.big, rest)
    elseif st.held + #rest > MAX_EVENT then
      if strip and st.held > 0 then out = { concat(st.parts) } end
      begin_big(st, rest)
    else
      st.parts[#st.parts + 1] = rest
      st.held = st.held + #rest
      if strip then
        out = out or {}
        out[#out + 1] = sub(s, emit, from - 1)
        emit = n + 1
      end
    end
  end
  if out == nil then return nil end
  out[#out + 1] = sub(s, emit)
  return concat(out)
end

-- The stream ended: what is left for the client of an event without its blank line.
local function flush(st)
  if st.big then end_big(st, "") end
  if st.start or st.held == 0 then return "" end
  local ev = concat(st.parts)
  if on_event(st, ev) or not st.strip then return "" end
  return ev
end

-- Readers take an answer's pieces: read returns what the client gets of one, nil for the piece as it is, and finish what
-- it gets besides at the end.

local function events_reader(strip, counts)
  local st = stream(strip, counts)
  tell(st.told, "framing", "events")
  return { told = st.told, state = st, read = feed, finish = flush }
end

local function read_json(sc, s)
  scan(sc, s)
  sc.tail = sub(#s < 16 and (sc.tail or "") .. s or s, -16)
  local told = sc.told
  if sc.output then tell_output(told) end
  if sc.fresh and sc.depth > 0 then tell_found(told, sc.found) end -- the rest may never come
end

-- Is a document a part of a stream, that some send as one document for each event?
local function is_part(sc)
  local kind = sc.found.type or ""
  return sc.chunks or find(kind, '^"message_') ~= nil or find(kind, '^"response%.') ~= nil or find(kind, '^"content_block') ~= nil
end

-- An error without a report is never done: it may be one of Envoy's own, which come through here too. Nor is an answer in
-- several documents whose last has no report, nor one that says that it goes on. Parts of a stream are done as one is.
-- Where nothing is known of what a document has, there may be output in it.
local function finish_json(sc, failed)
  local meta, told = sc.found.meta, sc.told
  if meta and (sc.metas or not told.usage) then take_usage(sc, meta, 1) end
  tell_found(told, sc.found)
  if not (sc.output or sc.known or failed) then tell_output(told) end
  local counted = told.usage == nil and not failed or sc.counted == sc.documents and told.usage ~= nil
  if sc.opened and sc.depth == 0 and counted and not UNFINISHED[sc.found.status or ""] then
    if not is_part(sc) or TERMINAL[sc.found.type or ""] or find(sc.tail, "%[DONE%]%s*$") then
      tell(told, "done", "true")
    elseif sc.ends or sc.stopped then
      local counted = { finished = {}, count = 0 }
      count_ends(counted, sc.ends or { 0 })
      tell(told, "finished", tostring(counted.count))
    end
  end
  return ""
end

local function json_reader()
  local told = report()
  tell(told, "framing", "json")
  return { told = told, state = scanner(told), read = read_json, finish = finish_json, json = true }
end

-- What reads an answer that begins with s, which may begin with blanks or a byte order mark: not what the provider calls
-- it but what it is. nil: nothing tells yet; false: nothing here can.
local function reader_of(s, strip, counts)
  local c = byte(s, find(s, "[^ \t\r\n\239\187\191]") or #s + 1)
  if c == nil then return nil end
  if c == 123 or c == 91 then return json_reader() end
  if c == 58 or c >= 65 and c <= 90 or c >= 97 and c <= 122 then return events_reader(strip, counts) end
  return false
end

-- The first bytes of gzip and zlib; the second one tells.
local PACKED = { [31] = true, [120] = true }

-- What unpacks an answer that begins with s, in gzip or zlib that nobody asked for; nil: it is neither. It returns what a
-- piece holds, nil when that cannot be told or would be much longer than what came. The client gets what came.
local function unpacker(s)
  local a, b = byte(s, 1, 2)
  if not (a == 31 and b == 139 or a == 120 and (b == 1 or b == 94 or b == 156 or b == 218)) then return nil end
  local parts, came, made = nil, 0, 0
  local inflate = inflater(function(piece, cost)
    made = made + cost
    if made > MAX_UNPACKED or made > MIN_UNPACKED + MAX_RATIO * came then error("unpacks to too much") end
    parts[#parts + 1] = piece
  end)
  return function(piece)
    parts, came = {}, came + #piece
    if came > MAX_UNPACKED then return nil end -- of blocks that hold nothing
    return pcall(inflate, piece) and concat(parts) or nil
  end
end

local function unread(h, told, failed)
  tell(told, "unread", not failed and "true" or nil)
  publish(h, told)
end

local function on_answer(h, strip, counts, failed)
  local reader, last, text, unpack
  local begun, head = false, ""
  for chunk in h:bodyChunks() do
    local n = chunk:length()
    last, text = chunk, ""
    if n > 0 then
      text = chunk:getBytes(0, n)
      if not begun then
        text = head .. text
        begun = true
        if PACKED[byte(text)] then
          strip, counts = false, false
          if #text > 1 then unpack = unpacker(text) else begun, head, text = false, text, "" end
        end
      end
      if unpack then
        text = unpack(text)
        if text == nil then return unread(h, reader and reader.told or report(), failed) end
      end
      if reader == nil then
        reader = reader_of(text, strip, counts)
        if reader == false then return unread(h, report(), failed) end
      end
      if reader then
        local told = reader.told
        told.got = told.got + n
        local changed = reader.read(reader.state, text)
        if reader.state.counts then tell_seen(h, reader.state, n) end
        if not (reader.json and reader.state.depth == 0) then publish(h, told) end -- which may have been all
        if changed then
          chunk:setBytes(changed)
          text = changed
        end
      end
    end
  end
  if not reader then
    if unpack or head ~= "" and not begun then unread(h, report(), failed) end
    return
  end
  local rest = reader.finish(reader.state, failed)
  publish(h, reader.told)
  -- The last chunk can still be written to, unless trailers came after it.
  if rest ~= "" then pcall(function() last:setBytes(text .. rest) end) end
end

-- Refusals and errors of providers -------------------------------------------------------------------------------

-- What the provider was sent of ours, from the note of its cluster.
local function credentials_of(note)
  local all, n = nil, 0
  for value in string.gmatch(note, "\t([^\t]+)") do
    value = match(value, "[^ ]+$") -- without "Bearer "
    if value and #value >= 8 then
      all, n = all or {}, n + 1
      all[n] = value
    end
  end
  return all
end

-- The text with every occurrence of secret replaced.
local function without(text, secret)
  local from, to = find(text, secret, 1, true)
  if from == nil then return text end
  local out, n, pos = {}, 0, 1
  while from do
    out[n + 1], out[n + 2] = sub(text, pos, from - 1), "[redacted]"
    n, pos = n + 2, to + 1
    from, to = find(text, secret, pos, true)
  end
  out[n + 1] = sub(text, pos)
  return concat(out)
end

-- Quoted as it is, and as JSON writers that escape slashes quote it.
local function redact(text, credentials)
  for i = 1, credentials and #credentials or 0 do
    local secret = credentials[i]
    text = without(text, secret)
    if find(secret, "/", 1, true) then text = without(text, (string.gsub(secret, "/", "\\/"))) end
  end
  return text
end

local ENTITY = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

local function character(n) return n and n < 128 and string.char(n) or nil end

-- The text as those see it who undo the escapes of JSON, of URLs and of HTML once.
local function unescaped(text)
  if not find(text, "[\\%%&]") then return text end
  text = string.gsub(text, "\\([u/\"\\])(%x?%x?%x?%x?)", function(c, hex)
    if c ~= "u" then return c .. hex end
    return #hex == 4 and character(tonumber(hex, 16)) or nil
  end)
  text = string.gsub(text, "%%(%x%x)", unescape)
  text = string.gsub(text, "&#[xX]0?0?0?0?(%x%x);", unescape)
  text = string.gsub(text, "&#0?0?0?0?(%d%d%d?);", function(digits) return character(tonumber(digits)) end)
  return (string.gsub(text, "&(%a%a%a?%a?);", ENTITY))
end

-- The same of what quotes others who quote: each wraps what it got once more.
local function bare(text)
  for _ = 1, MAX_QUOTED do
    local less = unescaped(text)
    if less == text then break end
    text = less
  end
  return text
end

local function quotes(text, credentials)
  local plain = bare(text)
  return redact(plain, credentials) ~= plain
end

-- Removes the headers that quote a credential.
local function clean_headers(headers, credentials)
  local gone, n = {}, 0
  if credentials == nil then return end
  for name, value in pairs(headers) do -- which may not change meanwhile
    if quotes(value, credentials) then
      n = n + 1
      gone[n] = name
    end
  end
  for i = 1, n do headers:remove(gone[i]) end
end

-- Answers in the provider's place.
-- An answer of headers and trailers alone, as HTTP/2 has it, has no body that could be set.
local function replace(h, body, anthropic, status, code, reason, message)
  local kind, number = "provider_error", '"code":' .. code .. ","
  if anthropic then kind, number = "api_error", "" end
  if body then body:setBytes((anthropic and '{"type":"error",' or "{")
    .. '"error":{"message":"' .. message .. '","type":"' .. kind .. '",' .. number
    .. '"metadata":{"reason":"' .. reason .. '","upstream_status":' .. status .. "}}}")
  end
  local headers = h:headers()
  headers:replace(":status", code)
  headers:replace("content-type", "application/json")
  headers:replace("x-should-retry", "false")
  headers:remove("content-encoding")
  headers:remove("content-disposition")
  headers:remove("retry-after")
  headers:remove("retry-after-ms")
  headers:remove("www-authenticate")
  headers:remove("set-cookie")
end

-- A provider's 401 and 402 speak of our key and account; a client would take them for ours. A 403 does so, too, unless
-- its words are about what the client sent: OpenRouter and xAI refuse content with it, Together a prompt too long. Azure
-- speaks of violations where it has blocked the resource.
local CONTENT = {
  "moderat", "flagged", "safety", "unsafe", "guideline", "guardrail", "violat", "content_filter", "content filter", "contentfilter",
  "content policy", "prohibited", "harm", "inappropriate", "sensitive", "exists risk", "high risk", "nsfw", "copyright",
  "prompt", "max_tokens", "max_new_tokens", "context length",
}
local ACCOUNT = { "suspend", "disabled", "deactivated", "resource has been" }

local function mentions(text, words)
  for i = 1, #words do
    if find(text, words[i], 1, true) then return true end
  end
  return false
end

local function speaks_of_us(status, text)
  if status ~= "403" then return true end
  text = string.lower(sub(text, 1, 65536))
  return not mentions(text, CONTENT) or mentions(text, ACCOUNT)
end

local function publish_status(h, status)
  local told = report()
  tell(told, "upstream_status", status)
  publish(h, told)
end

local function on_refused(h, body, status, anthropic)
  publish_status(h, status)
  replace(h, body, anthropic, status, "502", "upstream_auth", "The provider refused the credentials or the account of this gateway (HTTP "
    .. status .. "). The request is not at fault; whoever runs the gateway must check the provider key and its balance.")
end

-- No inference API redirects, or switches protocols: whoever followed would send key and prompt elsewhere.
local function on_redirect(h, status, anthropic, credentials)
  clean_headers(h:headers(), credentials)
  local reason, text = "upstream_redirect", "The provider answered with a redirect (HTTP " .. status .. "), which this gateway does not follow."
  if #status <= 3 then publish_status(h, status) end
  if #status ~= 3 then reason, text = "upstream_malformed", "The provider answered HTTP " .. status .. ", which is no status." end
  replace(h, h:body(true), anthropic, status, "502", reason, text .. " Whoever runs it must check the provider's base_url.")
  h:headers():remove("location")
end

-- A provider's error, whole: it passes without what it quotes of the credentials.
local function on_error(h, status, anthropic, credentials)
  clean_headers(h:headers(), credentials)
  if status ~= "403" then publish_status(h, status) end -- the body may be too long to be held; of a 403 it decides whether there is a fee
  local body = h:body(true) -- what was got of h before is stale now
  local text = body and body:getBytes(0, body:length()) or ""
  if status == "401" or status == "402" or status == "403" then
    if speaks_of_us(status, text) then return on_refused(h, body, status, anthropic) end
  end
  local encoding = h:headers():get("content-encoding")
  if encoding and encoding ~= "identity" or unpacker(text) then
    return replace(h, body, anthropic, status, status, "upstream_error", "The provider answered HTTP " .. status
      .. " and a body in an encoding that nobody asked for.")
  end
  local reader = reader_of(text, false)
  if reader then
    reader.read(reader.state, text)
    reader.finish(reader.state, true)
    publish(h, reader.told)
  end
  local clean = redact(text, credentials)
  if quotes(clean, credentials) then
    return replace(h, body, anthropic, status, status, "upstream_error", "The provider answered HTTP " .. status
      .. " and quotes the credentials of this gateway.")
  end
  if clean ~= text then body:setBytes(clean) end
end

-- Calls f. Where it fails, the client gets neither the provider's status, which may speak of our key, nor what it quotes;
-- the error goes on to Envoy, which counts it.
local function guarded(f, h, status, anthropic, credentials)
  local ok, err = pcall(f, h, status, anthropic, credentials)
  if ok then return end
  local got, body = pcall(h.body, h, true)
  replace(h, got and body or nil, anthropic, status, "502", "upstream_error", "The provider answered HTTP " .. status
    .. ", and this gateway could not read the answer.")
  h:headers():remove("location")
  error(err, 0)
end

-- The cluster's note is on every answer of a provider and on no other: what Check decided of the stream ("true", "count",
-- "true count" or "-": drop the usage-only chunk, count the output) and anthropic ("true" or "-"), then the credentials that were sent, tabs between. It ends here.
function envoy_on_response(h)
  local headers = h:headers()
  local note = headers:get("x-aig-int-answer")
  if note == nil then return end
  headers:remove("x-aig-int-answer")
  local status = headers:get(":status")
  local failed = #status == 3 and status >= "400" -- less than 100 is no status, and would break the client's connection
  if #status ~= 3 or status < "200" or status >= "300" then
    local anthropic, sent = match(note, "^[^\t]*\t([^\t]*)(.*)")
    anthropic = anthropic == "true"
    local credentials = credentials_of(sent)
    if not failed then return guarded(on_redirect, h, status, anthropic, credentials) end
    if credentials or status == "401" or status == "402" or status == "403" then return guarded(on_error, h, status, anthropic, credentials) end
  end
  local strip = not failed and byte(note, 1) == 116
  local counts = not failed and byte(note, strip and 6 or 1) == 99
  if strip then headers:remove("content-length") end -- the body may get shorter
  on_answer(h, strip, counts, failed)
end
