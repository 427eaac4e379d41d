-- Unpacks gzip (RFC 1952) and zlib (RFC 1950), which hold deflate (RFC 1951), in pieces cut anywhere. Plain Lua 5.1, so
-- bits are arithmetic. Its time is linear in what it takes and in what emit is told, both of which its caller bounds. Check
-- sums are not compared: what is read of an answer proves itself, and a doubtful one costs its bound.
local inflater = (function()
  local byte, char, floor, unpack = string.byte, string.char, math.floor, unpack
  local WINDOW, PIECE = 32768, 4096 -- bytes a copy may reach back, and bytes told at a time
  local CODES = 512 -- a block's own codes, which take a dozen bytes, cost as much as so many bytes that are made
  local LENGTH = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 }
  local LENGTH_BITS = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 }
  local DISTANCE = { 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 }
  local DISTANCE_BITS = { 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13 }
  local ORDER = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 }

  -- A canonical code from the lengths of symbols from..to: how many there are of each length, and the symbols in order.
  local function code(lengths, from, to)
    local count, at, symbols = {}, {}, {}
    for n = 0, 15 do count[n] = 0 end
    for i = from, to do count[lengths[i]] = count[lengths[i]] + 1 end
    local left, sum = 1, 0
    for n = 1, 15 do
      left = left * 2 - count[n]
      if left < 0 then error("more codes than bits") end
      at[n] = sum
      sum = sum + count[n]
    end
    for i = from, to do
      local n = lengths[i]
      if n > 0 then
        symbols[at[n]] = i - from
        at[n] = at[n] + 1
      end
    end
    return { count = count, symbols = symbols }
  end

  local FIXED = {}
  for i = 0, 287 do FIXED[i] = i < 144 and 8 or i < 256 and 9 or i < 280 and 7 or 8 end
  local FIXED_DISTANCE = {}
  for i = 0, 29 do FIXED_DISTANCE[i] = 5 end
  FIXED, FIXED_DISTANCE = code(FIXED, 0, 287), code(FIXED_DISTANCE, 0, 29)

  -- The function that is called with each piece. emit gets what is unpacked and what it cost, and may end it by an error.
  return function(emit)
    local s, i, n = "", 0, 0 -- the piece at hand, and the bytes of it that are taken
    local hold, held = 0, 0 -- bits that are taken and not used
    local window, pos = {}, 0 -- pos: bytes made
    local told = 0 -- of those

    local function tell_rest()
      while told < pos do
        local from = told % WINDOW
        local to = math.min(from + PIECE, from + pos - told)
        to = math.min(to, from - from % PIECE + PIECE) -- no piece goes around
        told = told + to - from
        emit(char(unpack(window, from + 1, to)), to - from)
      end
    end

    local function next_byte()
      while i == n do
        tell_rest()
        s = coroutine.yield()
        i, n = 0, #s
      end
      i = i + 1
      return byte(s, i)
    end

    local function bits(k)
      while held < k do
        hold = hold + next_byte() * 2 ^ held
        held = held + 8
      end
      local m = 2 ^ k
      local v = hold % m
      hold, held = (hold - v) / m, held - k
      return v
    end

    local function symbol(c)
      local value, first, index = 0, 0, 0
      for k = 1, 15 do
        value = value * 2 + bits(1)
        local count = c.count[k]
        if value - first < count then return c.symbols[index + value - first] end
        index, first = index + count, (first + count) * 2
      end
      error("no such code")
    end

    local function put(b)
      window[pos % WINDOW + 1] = b
      pos = pos + 1
      if pos - told == PIECE then tell_rest() end
    end

    local function stored()
      hold, held = 0, 0 -- less than a byte is ever left
      local length = next_byte() + next_byte() * 256
      if next_byte() + next_byte() * 256 ~= 65535 - length then error("a length that is none") end
      for _ = 1, length do put(next_byte()) end
    end

    local function coded(literals, distances)
      while true do
        local v = symbol(literals)
        if v < 256 then
          put(v)
        elseif v == 256 then
          return
        else
          if v > 285 then error("no such length") end
          local length = LENGTH[v - 256] + bits(LENGTH_BITS[v - 256])
          v = symbol(distances)
          if v == nil or v > 29 then error("no such distance") end
          local back = DISTANCE[v + 1] + bits(DISTANCE_BITS[v + 1])
          if back > pos then error("from before the beginning") end
          for _ = 1, length do put(window[(pos - back) % WINDOW + 1]) end
        end
      end
    end

    local function dynamic()
      local literals, distances, codes = bits(5) + 257, bits(5) + 1, bits(4) + 4
      emit("", CODES)
      local lengths = {}
      for k = 0, 18 do lengths[k] = 0 end
      for k = 1, codes do lengths[ORDER[k]] = bits(3) end
      local c, k = code(lengths, 0, 18), 0
      lengths = {}
      while k < literals + distances do
        local v, again, value = symbol(c), 1, 0
        if v < 16 then
          value = v
        elseif v == 16 then
          again, value = 3 + bits(2), lengths[k - 1] or error("nothing to repeat")
        else
          again = v == 17 and 3 + bits(3) or 11 + bits(7)
        end
        if k + again > literals + distances then error("more lengths than codes") end
        for _ = 1, again do
          lengths[k] = value
          k = k + 1
        end
      end
      coded(code(lengths, 0, literals - 1), code(lengths, literals, literals + distances - 1))
    end

    local function blocks()
      local last
      repeat
        last = bits(1) == 1
        local kind = bits(2)
        if kind == 0 then stored() elseif kind == 1 then coded(FIXED, FIXED_DISTANCE) elseif kind == 2 then dynamic() else error("no such block") end
      until last
      hold, held = 0, 0
    end

    local function text() repeat until next_byte() == 0 end

    local function gzip()
      if next_byte() ~= 139 or next_byte() ~= 8 then error("no gzip") end
      local flags = next_byte()
      for _ = 1, 6 do next_byte() end
      if floor(flags / 4) % 2 == 1 then for _ = 1, next_byte() + next_byte() * 256 do next_byte() end end
      if floor(flags / 8) % 2 == 1 then text() end
      if floor(flags / 16) % 2 == 1 then text() end
      if floor(flags / 2) % 2 == 1 then next_byte() next_byte() end
      blocks()
      for _ = 1, 8 do next_byte() end
    end

    -- Members follow one another; each may reach back within itself only, which is not looked at.
    return coroutine.wrap(function(piece)
      s, n = piece, #piece
      while true do
        if next_byte() == 31 then
          gzip()
        else
          next_byte()
          blocks()
          for _ = 1, 4 do next_byte() end
        end
      end
    end)
  end
end)()
