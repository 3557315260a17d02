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
    while high - low > 1 do
      local middle, when = split(redis.call('XRANGE', KEYS[2], text(math.floor((low + high) / 2)), '+', 'COUNT', 1)[1])
      if when <= oldest then
        low = middle
      elseif middle < high then
        high = middle
      else
        -- Nothing lies between.
        break
      end
    end
    floor = high - 1
  end
end

local entries, bytes, more = {}, 0, 0
local limit, room, from = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[2])
local forward = ARGV[1] == 'after'
if newest and floor < newest then
  if forward then from = math.max(from, floor) + 1 elseif from < 0 or from > newest then from = newest else from = from - 1 end
  while #entries < limit and bytes < room do
    local count = math.min(limit - #entries, 64)
    local batch
    if forward then
      batch = redis.call('XRANGE', KEYS[2], text(from), '+', 'COUNT', count)
    elseif from > floor then
      batch = redis.call('XREVRANGE', KEYS[2], text(from), text(floor + 1), 'COUNT', count)
    else
      batch = {}
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
  end
  if forward and from <= newest or not forward and from > floor then more = 1 end
end
return {held[1], text(floor), held[2], more, entries}
