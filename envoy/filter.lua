-- The data-plane half of aigateway: on the way up it splices the edits Check decided into the request body, on the
-- way down it copies the provider's usage report into dynamic metadata, for the access log, and drops the usage-only
-- chunk the client did not ask for. Names and formats are those of the Go package that embeds this file. Plain Lua 5.1.
local DECISION, REPORT = "envoy.filters.http.ext_authz", "aig"
local MAX_CAPTURE = 8192 -- longest value reported
local MAX_EVENT = 262144 -- longest event looked at; bounds what is kept of a stream
local MAX_KEY = 16 -- longest member name looked for

local byte, find, match, sub, concat = string.byte, string.find, string.match, string.sub, table.concat

-- Members looked for at the top, and one level down inside one of PARENT.
local TOP = { usage = true, model = true, service_tier = true, tool_usage = true, type = true, meta = true, choices = true }
local INNER = { usage = true, model = true, service_tier = true, tool_usage = true }
local PARENT = { message = true, response = true, delta = true }
local REPORTED = { "usage", "model", "service_tier", "tool_usage", "type" }
local WRITTEN = { "usage", "first_usage", "model", "service_tier", "tool_usage", "type", "done", "upstream_status" }
-- Event types that end an answer by themselves.
local TERMINAL = {
  ['"response.completed"'] = true, ['"response.incomplete"'] = true, ['"response.failed"'] = true, ['"message_stop"'] = true,
}

-- Request --------------------------------------------------------------------------------------------------------

-- Edits are "at del length:text", repeated. Anything unexpected is an error: the edit header then stays, and the RBAC
-- filter behind us refuses the request.
local function splice(s, edits)
  local out, n, pos, i, size = {}, 0, 1, 1, #edits
  if size == 0 then error("no edits") end
  while i <= size do
    local _, e, at, del, len = find(edits, "^(%d+) (%d+) (%d+):", i)
    if e == nil then error("malformed edits") end
    at, del, len = tonumber(at), tonumber(del), tonumber(len)
    if at + 1 < pos or at + del > #s or e + len > size then error("edits do not fit the body") end
    out[n + 1], out[n + 2] = sub(s, pos, at), sub(edits, e + 1, e + len)
    n, pos, i = n + 2, at + del + 1, e + len + 1
  end
  out[n + 1] = sub(s, pos)
  return concat(out)
end

function envoy_on_request(h)
  if h:headers():get("x-aig-int-edit") == nil then return end
  local edits = h:streamInfo():dynamicMetadata():get(DECISION)["edits"]
  local body = h:body()
  body:setBytes(splice(body:getBytes(0, body:length()), edits))
  -- A query would reach the provider, and some let it pick what an answer says: Google's ?fields= hides usage.
  local path = h:headers():get(":path")
  if path and find(path, "?", 1, true) then h:headers():replace(":path", match(path, "^[^?]*")) end
  h:headers():remove("x-aig-int-edit") -- last: only a finished splice may pass
end

-- JSON -----------------------------------------------------------------------------------------------------------

-- A scanner takes JSON in pieces, cut anywhere, and keeps only the raw text of the members looked for. It finds its
-- way by strings, brackets and, near the top, commas and colons; it never holds more than MAX_CAPTURE bytes.
local function scanner()
  return {
    depth = 0, -- open brackets
    obj = {}, -- by depth, 1 to 3: is it an object
    key = {}, -- by depth, 1 and 2: the latest member name
    iskey = false, -- is the next string a member name
    instr = false, -- inside a string
    esc = false, -- the last piece ended in a backslash that escapes the next byte
    keep = nil, -- inside a member name worth keeping: its text so far
    nums = false, -- inside an array that may hold numbers only
    cap = nil, -- the value being captured
    found = {}, -- raw text by name
    lost = false, -- the last usage was too long
    fresh = false, -- usage was found since the flag was cleared
    first = nil, -- the first usage
    differs = false, -- another usage was not equal to the first
    top = false, -- the last usage was not inside a PARENT
    only_type = false, -- stop at the first type
    choices = false, -- look for choices too
    opened = false,
  }
end

local function capture_end(sc, piece)
  local c = sc.cap
  sc.cap = nil
  if c.size + #piece > MAX_CAPTURE then
    if c.name == "usage" then
      sc.found.usage, sc.lost, sc.fresh = nil, true, true
    else
      sc.found[c.name] = nil
    end
    return
  end
  local raw = piece
  if #c.parts > 0 then
    c.parts[#c.parts + 1] = piece
    raw = concat(c.parts)
  end
  raw = match(raw, "^%s*(.*%S)")
  if raw == nil or raw == "null" then return end
  if c.name == "usage" then
    if byte(raw, 1) ~= 123 then return end
    sc.lost, sc.fresh, sc.top = false, true, c.depth == 1
    if sc.first == nil then
      sc.first = raw
    elseif sc.first ~= raw then
      sc.differs = true
    end
  end
  sc.found[c.name] = raw
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
      if d > 2 or cap and d > cap.depth then
        i, d = skip(s, i, n, d, cap and cap.depth or 2)
        sc.depth, sc.iskey = d, false
      end
      local p, c = i, byte(s, i)
      while c and not STOP[c] do
        p = p + 1
        c = byte(s, p)
      end
      if c == nil then break end
      if c == 34 then
        local q = find(s, '"', p + 1, true)
        if q and byte(s, q - 1) ~= 92 then -- the usual string
          if sc.iskey and cap == nil and d <= 2 then
            sc.key[d] = q - p - 1 <= MAX_KEY and sub(s, p + 1, q - 1) or ""
          end
          p = q
        else
          sc.instr = true
          if sc.iskey and cap == nil and d <= 2 then
            sc.keep, kfrom = "", p + 1
          end
        end
      elseif c == 123 or c == 91 then
        d = d + 1
        sc.depth, sc.opened = d, true
        if d <= 3 then sc.obj[d] = c == 123 end
        sc.iskey = c == 123
        if c == 91 and d > 2 then
          local b = byte(s, p + 1)
          sc.nums = b == nil or b == 45 or (b >= 48 and b <= 57)
        end
      elseif c == 58 then
        sc.iskey = false
        local k = sc.key[d]
        if cap == nil and k and sc.obj[d] then
          if d == 1 and TOP[k] and (k ~= "choices" or sc.choices) and (k ~= "type" or not sc.found.type)
            or d == 2 and INNER[k] and PARENT[sc.key[1]] then
            sc.cap = { name = k, depth = d, parts = {}, size = 0 }
            from = p + 1
          end
          sc.key[d] = d == 1 and k or nil
        end
      else -- a comma or a closing bracket
        if cap and cap.depth == d then
          capture_end(sc, sub(s, from, p - 1))
          if sc.only_type and sc.found.type then return end
        end
        if c == 44 then
          sc.iskey = sc.obj[d] == true
        else
          sc.depth, sc.iskey = d - 1, false
        end
      end
      i = p + 1
    end
  end
  local c = sc.cap
  if c then
    c.size = c.size + n - from + 1
    if c.size <= MAX_CAPTURE then c.parts[#c.parts + 1] = sub(s, from) end
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

-- told is the report so far; told.changed: the metadata does not say it yet.
local function tell(told, name, value)
  if told[name] == value then return end
  told[name], told.changed = value, true
end

local function tell_found(told, sc)
  local found = sc.found
  if sc.lost then found.usage = "" end -- an older report must not pass for the last
  local usage = found.usage
  told.first = told.first or sc.first
  if sc.differs or usage and usage ~= "" and usage ~= told.first then tell(told, "first_usage", told.first) end
  for i = 1, #REPORTED do
    local value = found[REPORTED[i]]
    if value then tell(told, REPORTED[i], value) end
  end
end

-- Writes the report as "name length:text", repeated: each write costs, and one text is the cheapest. It is written
-- whenever a chunk changed it, as the next one may never come.
local function publish(h, told)
  if not told.changed then return end
  told.changed = false
  local out, n = {}, 0
  for i = 1, #WRITTEN do
    local name = WRITTEN[i]
    local value = told[name]
    if value then
      out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] = name, " ", #value, ":", value
      n = n + 5
    end
  end
  h:streamInfo():dynamicMetadata():set(REPORT, "report", concat(out))
end

-- Server-sent events ---------------------------------------------------------------------------------------------

-- Could the text hold a member "usage" that is an object? Most chunks say "usage":null.
local function mentions_usage(s)
  local _, e = find(s, '"usage"', 1, true)
  while e do
    if find(s, "^[ \t]*:?[ \t]*[{\r\n]", e + 1) then return true end
    _, e = find(s, '"usage"', e + 1, true)
  end
  return false
end

local function mentions_end(s)
  return find(s, '"type"', 1, true) or find(s, "[DONE]", 1, true)
end

-- The data of an event: its data lines, joined; nil when it has none.
local function data_of(ev)
  local e = find(ev, "[\r\n]")
  if sub(ev, 1, 5) == "data:" and (e == nil or find(ev, "^[\r\n]*$", e)) then
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

-- Reports what one event says, and tells whether it is the chunk to strip: no choices, only usage.
local function on_event(st, ev)
  local usage = mentions_usage(ev)
  if not usage and not mentions_end(ev) then return false end
  local data = data_of(ev)
  if data == nil then return false end
  if byte(data, 1) == 91 and find(data, "^%[DONE%]%s*$") then
    tell(st.told, "done", "true")
    return false
  end
  local sc = scanner()
  sc.only_type = not usage
  sc.choices = st.strip
  scan(sc, data)
  if sc.fresh then
    tell_found(st.told, sc)
  elseif sc.found.type then
    tell(st.told, "type", sc.found.type)
  end
  if TERMINAL[sc.found.type] then tell(st.told, "done", "true") end
  return st.strip and sc.depth == 0 and sc.top and sc.found.usage ~= "" and sc.found.choices ~= nil
    and find(sc.found.choices, "^%[%s*%]$") ~= nil
end

-- An event too long to look at may have held a report.
local function on_oversize(st)
  if st.told.usage then tell(st.told, "usage", "") end
end

local function stream(strip)
  return {
    strip = strip, -- withhold unfinished events, drop the usage-only one
    told = {}, -- the report
    start = true, -- between events
    drop_lf = false, -- the dropped event ended in CR: an LF now belongs to it
    comment = false, -- inside a comment line between events
    eol = 0, -- inside an event: 0 within a line, 1 after a line, 2 after a line that ended in CR
    cr = false, -- the stream has a CR somewhere
    big = false, -- the event is over MAX_EVENT and passes through
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

-- Takes one piece of the stream and returns what the client gets of it now; nil: the piece as it is.
local function feed(st, s)
  local n, pos = #s, 1
  st.cr = st.cr or find(s, "\r", 1, true) ~= nil
  if st.start and not st.comment and not st.cr and n <= MAX_EVENT and byte(s, n) == 10 and byte(s, n - 1) == 10
    and not mentions_usage(s) and not mentions_end(s) then
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
      elseif c == 10 or c == 13 then -- a blank line, or the rest of a line end
        pos = pos + 1
      elseif c == 58 then
        st.comment = true
      else
        st.start, st.eol, from = false, 0, pos
      end
    else
      local b = event_end(st, s, pos, n)
      if b == nil then break end
      local drop = false
      if st.big or st.held + b - from + 1 > MAX_EVENT then
        if not st.big then on_oversize(st) end
      else
        local ev = sub(s, from, b)
        if st.held > 0 then ev = concat(st.parts) .. ev end
        drop = on_event(st, ev)
      end
      if drop then
        out = out or {}
        out[#out + 1] = sub(s, emit, from - 1)
        emit = b + 1
      elseif strip and st.held > 0 then
        out = { concat(st.parts) } -- held means the event began before s: nothing of s is out yet
      end
      if st.held > 0 then st.parts, st.held = {}, 0 end
      st.start, st.big = true, false
      st.drop_lf = drop and byte(s, b) == 13
      pos, from = b + 1, b + 1
    end
  end
  if not st.start and not st.big then
    local size = st.held + n - from + 1
    if size > MAX_EVENT then
      if strip and st.held > 0 then out = { concat(st.parts) } end
      st.big, st.parts, st.held = true, {}, 0
      on_oversize(st)
    else
      st.parts[#st.parts + 1] = sub(s, from)
      st.held = size
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
  if st.start or st.big or st.held == 0 then return "" end
  local ev = concat(st.parts)
  if on_event(st, ev) or not st.strip then return "" end
  return ev
end

local function on_stream(h, strip)
  local st = stream(strip)
  local last, last_text
  for chunk in h:bodyChunks() do
    local n = chunk:length()
    last, last_text = chunk, ""
    if n > 0 then
      last_text = chunk:getBytes(0, n)
      local text = feed(st, last_text)
      publish(h, st.told)
      if text then
        chunk:setBytes(text)
        last_text = text
      end
    end
  end
  local rest = flush(st)
  publish(h, st.told)
  -- The last chunk can still be written to, unless trailers came after it.
  if rest ~= "" then pcall(function() last:setBytes(last_text .. rest) end) end
end

-- Other answers --------------------------------------------------------------------------------------------------

-- An error is never done: it may be one of Envoy's own, which come through here too.
local function on_json(h, failed)
  local sc, told = scanner(), {}
  local function say()
    tell_found(told, sc)
    tell(told, "done", sc.opened and sc.depth == 0 and not failed and "true" or nil)
    publish(h, told)
  end
  for chunk in h:bodyChunks() do
    local n = chunk:length()
    if n > 0 then
      scan(sc, chunk:getBytes(0, n))
      if sc.fresh then
        sc.fresh = false
        say() -- the rest may never come
      end
    end
  end
  local found = sc.found
  if found.meta and not found.usage and not sc.lost and find(found.meta, '"billed_units"', 1, true) then found.usage = found.meta end
  say()
end

-- Refusals and errors of providers -------------------------------------------------------------------------------

-- What the provider was sent: the cluster puts it on the answer, and here it ends.
local CREDENTIAL = {}
for i = 1, 8 do CREDENTIAL[i] = "x-aig-int-credential-" .. i end

local function take_credentials(headers)
  local all, n = nil, 0
  for i = 1, #CREDENTIAL do
    local value = headers:get(CREDENTIAL[i])
    if value == nil then break end
    headers:remove(CREDENTIAL[i])
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

-- Answers in the provider's place.
local function replace(h, body, anthropic, status, code, reason, message)
  local kind, number = "provider_error", '"code":' .. code .. ","
  if anthropic then kind, number = "api_error", "" end
  body:setBytes((anthropic and '{"type":"error",' or "{")
    .. '"error":{"message":"' .. message .. '","type":"' .. kind .. '",' .. number
    .. '"metadata":{"reason":"' .. reason .. '","upstream_status":' .. status .. "}}}")
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
-- its words are about what the client sent: OpenRouter and xAI refuse content with it, Together a prompt too long.
local CONTENT = {
  "moderat", "flagged", "safety", "guideline", "violat", "content_filter", "content filter", "content policy", "prohibited", "harm",
  "prompt", "max_tokens", "context length",
}
local ACCOUNT = { "suspend", "disabled", "deactivated" }

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

local function on_refused(h, body, status, anthropic)
  publish(h, { upstream_status = status, changed = true })
  replace(h, body, anthropic, status, "502", "upstream_auth", "The provider refused the credentials or the account of this gateway (HTTP "
    .. status .. "). The request is not at fault; whoever runs the gateway must check the provider key and its balance.")
end

-- No inference API redirects, or switches protocols: whoever followed would send key and prompt elsewhere.
local function on_redirect(h, status, anthropic)
  publish(h, { upstream_status = status, changed = true })
  replace(h, h:body(true), anthropic, status, "502", "upstream_redirect", "The provider answered with a redirect (HTTP " .. status
    .. "), which this gateway does not follow. Whoever runs it must check the provider's base_url.")
  h:headers():remove("location")
end

-- A provider's error, whole: it passes without what it quotes of the credentials.
local function on_error(h, status, anthropic, credentials)
  local body = h:body(true) -- what was got of h before is stale now
  local text = body:getBytes(0, body:length())
  if status == "401" or status == "402" or status == "403" then
    if speaks_of_us(status, text) then return on_refused(h, body, status, anthropic) end
  end
  local encoding = h:headers():get("content-encoding")
  if encoding and encoding ~= "identity" then
    return replace(h, body, anthropic, status, status, "upstream_error", "The provider answered HTTP " .. status
      .. " and a body in an encoding that nobody asked for.")
  end
  local sc, told = scanner(), {}
  scan(sc, text)
  tell_found(told, sc)
  publish(h, told)
  local clean = redact(text, credentials)
  if clean ~= text then body:setBytes(clean) end
end

function envoy_on_response(h)
  local headers = h:headers()
  local credentials = take_credentials(headers)
  local md = h:streamInfo():dynamicMetadata():get(DECISION)
  if md == nil or md["rsv"] == nil then return end
  local status = headers:get(":status")
  if status < "200" or status >= "300" and status < "400" then return on_redirect(h, status, md["anthropic"] == true) end
  if credentials and status >= "400" or status == "401" or status == "402" or status == "403" then
    return on_error(h, status, md["anthropic"] == true, credentials)
  end
  local encoding = headers:get("content-encoding")
  if encoding and encoding ~= "identity" then return end
  local kind = string.lower(headers:get("content-type") or "")
  if find(kind, "text/event-stream", 1, true) then
    local strip = md["strip_usage"] == true
    if strip then headers:remove("content-length") end -- the body may get shorter
    on_stream(h, strip)
  elseif kind == "" or find(kind, "json", 1, true) then
    on_json(h, status ~= nil and status >= "400")
  end
end
