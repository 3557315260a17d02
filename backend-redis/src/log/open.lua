-- Says where the log of a topic ends, and begins it where there is none, so that its positions stay valid.
-- KEYS  1 what is known of the log  2 the log  3 last values  4 their keys by offset  5 the mark of the server's life, but on a Cluster
-- ARGV  1 an epoch that no log has had  2 ms to remember the log  3 on a Cluster: this run of the server  4 runs of all servers that are up
local run = ARGV[3]
if run == '' then
  run = redis.call('GET', KEYS[5])
  if not run then
    run = ARGV[1]
    redis.call('SET', KEYS[5], run)
  end
end
local held = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'run')
local epoch, last = held[1], held[2]
if not epoch then
  epoch, last = ARGV[1], '0'
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'last', last, 'sum', 0, 'run', run, 'until', 0)
elseif held[3] ~= run and not string.find(ARGV[4], held[3], 1, true) then
  last = string.format('%.0f', last + 8589934592)
  redis.call('HSET', KEYS[1], 'last', last, 'run', run, 'until', 0)
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  -- Last values are remembered as long as the log is.
  for _, key in ipairs({KEYS[1], KEYS[3], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[2]) end
end
return epoch .. ':' .. last
