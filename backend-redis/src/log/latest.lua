-- Reads last values of keys, in the order in which they were written.
-- KEYS  1 what is known of the log  2 last values  3 their keys by offset
-- ARGV  1 an offset: only what was written after it  2 values, 3 bytes at most
local held = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if not held[1] then return {'0', '0', '', {}} end

-- A place among the keys would move when one before it is written again; an offset stays.
local keys = redis.call('ZRANGE', KEYS[3], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local values, bytes, through = {}, 0, ''
for index = 1, #keys, 2 do
  if bytes >= tonumber(ARGV[3]) then break end
  local value = redis.call('HMGET', KEYS[2], keys[index])[1]
  if value then
    values[#values + 1] = value
    bytes = bytes + #value
  end
  through = string.format('%.0f', keys[index + 1])
  if index + 1 == #keys and #keys < 2 * ARGV[2] then through = '' end
end
return {held[1], held[2], through, values}
