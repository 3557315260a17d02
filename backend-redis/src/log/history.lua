-- Reads a part of the log of a topic.
-- KEYS  1 what is known of the log  2 the log
-- ARGV  1 after or before  2 an offset; before nothing: -1  3 messages, 4 bytes at most
local function text(number) return string.format('%.0f', number) end
local function split(entry)
  local offset, at = string.match(entry[1], '^(%d+)-(%d+)$')
  return tonumber(offset), tonumber(at)
end

local held = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'ttl')
if not held[1] then return {'0', '0', '0', 0, {}} end
local last = tonumber(held[2])
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - (held[3] or 0)

-- The floor: what is older than its time is not read, also where it is still there.
local floor, newest = last, nil
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if first then
  local low, at = split(first)
  local high, latest = split(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1])
  newest = high
  if at > oldest then
    floor = low - 1
  elseif latest > oldest then
    -- Where there are holes the entry that follows an offset may be far behind it.
    local bound = high
    while bound - low > 1 do
      local middle = math.floor((low + bound) / 2)
      local found, when = split(redis.call('XRANGE', KEYS[2], text(middle), '+', 'COUNT', 1)[1])
      if when <= oldest then low = found else bound, high = middle, found end
    end
    floor = high - 1
  end
end

-- How many are read at once follows from their size: what goes beyond the answer is not even read.
local entries, bytes, more, step = {}, 0, 0, 1
local limit, room, from = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[2])
local forward = ARGV[1] == 'after'
if newest and floor < newest then
  if forward then from = math.max(from, floor) + 1 elseif from < 0 or from > newest then from = newest else from = from - 1 end
  while #entries < limit and bytes < room and (forward and from <= newest or not forward and from > floor) do
    local count = math.min(limit - #entries, step)
    local batch
    if forward then
      batch = redis.call('XRANGE', KEYS[2], text(from), '+', 'COUNT', count)
    else
      batch = redis.call('XREVRANGE', KEYS[2], text(from), text(floor + 1), 'COUNT', count)
    end
    for _, entry in ipairs(batch) do
      if bytes < room then
        entries[#entries + 1] = {entry[1], entry[2][4]}
        bytes = bytes + #entry[2][4]
        from = split(entry)
        from = forward and from + 1 or from - 1
      end
    end
    if #batch < count then break end
    step = math.max(1, math.min(64, math.ceil((room - bytes) * #entries / math.max(bytes, 1))))
  end
  if forward and from <= newest or not forward and from > floor then more = 1 end
end
return {held[1], text(floor), held[2], more, entries}
