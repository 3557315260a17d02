-- Reads last values of keys, in the order in which they were written.
-- KEYS  1 what is known of the log  2 last values  3 their keys by offset
-- ARGV  1 values to pass over  2 values at most
local held = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if not held[1] then return {'0', '0', {}} end
local keys = redis.call('ZRANGE', KEYS[3], ARGV[1], ARGV[1] + ARGV[2] - 1)
if #keys == 0 then return {held[1], held[2], {}} end
return {held[1], held[2], redis.call('HMGET', KEYS[2], unpack(keys))}
