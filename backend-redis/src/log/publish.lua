-- Puts a message into the log of its topic, and gives it to everybody who is subscribed: one step.
-- KEYS  1 what is known of the log  2 the log  3 last values  4 their keys by offset  then the message_id, where there is one, and
--       the mark of the server's life (life.lua), but on a Cluster
-- ARGV  1 message  2 channel  3 PUBLISH or SPUBLISH  4 an epoch that no log has had  5 size  6 messages, 7 bytes, 8 ms to retain
--       9 ms to remember the log  10 ms to remember the message_id  11 last values to retain; 0 for a message without a key
--       12 the message's key  13 a channel of all servers, or nothing  14 on a Cluster: this run of the server  15 runs of all servers that are up
local function text(number) return string.format('%.0f', number) end

local run, mark, id = ARGV[14], nil, KEYS[5]
if run == '' then
  mark = KEYS[#KEYS]
  if #KEYS == 5 then id = nil end
end
if id then
  local first = redis.call('GET', id)
  if first then return {first, 1} end
end
if mark then run = redis.call('GET', mark) end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'sum', 'run', 'until')
local epoch, last, sum, till = held[1], tonumber(held[2]), tonumber(held[3]), tonumber(held[5])
if not epoch then
  -- There was no log, or it was lost: nothing of it may pass for the new one.
  epoch, last, sum, till = ARGV[4], 0, 0, 0
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
elseif held[4] ~= run and not string.find(ARGV[15], held[4], 1, true) then
  -- The server that wrote last is gone, perhaps with the end of the log: what nobody can know is a hole,
  -- twice as large as the core takes for one of unknown size (2^32), for the offsets that were lost count, too.
  last, till = last + 8589934592, 0
end

local offset, ttl, values = last + 1, tonumber(ARGV[8]), tonumber(ARGV[11])
local keyed = values > 0
-- Whatever stands in the way is found before anything is written.
if not run then
  run = ARGV[4]
  redis.call('SET', mark, run)
end
if keyed then
  redis.call('HEXISTS', KEYS[3], '')
  redis.call('ZCARD', KEYS[4])
end
-- An entry's number is its offset and its time; `s` is the size of all that was written before it.
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], text(offset) .. '-' .. text(now), 's', text(sum), 'm', ARGV[1])
sum = sum + ARGV[5]

-- The first entry from an offset on, and whether it stays; the newest always does.
local function look(from)
  local entry = redis.call('XRANGE', KEYS[2], text(from), '+', 'COUNT', 1)[1]
  local number, at = string.match(entry[1], '^(%d+)-(%d+)$')
  number = tonumber(number)
  return number, number >= offset or sum - entry[2][2] <= tonumber(ARGV[7]) and tonumber(at) > now - ttl
end
local first, stays = look(0)
if not stays then
  -- Most of the time the next one stays. Where much has expired it is found in few steps: a server does nothing else meanwhile.
  local gone, bound, step = first, offset, 1
  first = offset
  while bound - gone > 1 do
    local middle = math.min(gone + step, math.floor((gone + bound) / 2))
    local number, found = look(middle)
    if found then first, bound, step = number, middle, offset else gone, step = number, 2 * step end
  end
  redis.call('XTRIM', KEYS[2], 'MINID', text(first))
end
-- Whatever was there before may have taken its time to live along.
if first >= offset and redis.call('PTTL', KEYS[2]) < 0 then till = 0 end

local place = epoch .. ':' .. text(offset) .. ':' .. text(last) .. ';'
if keyed then
  redis.call('HSET', KEYS[3], ARGV[12], place .. ARGV[1])
  redis.call('ZADD', KEYS[4], text(offset), ARGV[12])
  local count = redis.call('ZCARD', KEYS[4])
  if count == 1 then till = 0 end
  if count > values then
    for _, key in ipairs(redis.call('ZRANGE', KEYS[4], 0, count - values - 1)) do
      redis.call('HDEL', KEYS[3], key)
    end
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, count - values - 1)
  end
end

-- What is no longer written to goes by itself; that is not said anew with each message.
local renew = till - now < ttl
if renew then till = now + 2 * ttl end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'last', text(offset), 'sum', text(sum), 'run', run,
  'until', text(till), 'ttl', ARGV[8])
if renew then
  redis.call('PEXPIRE', KEYS[2], text(2 * ttl))
  for index = 1, 4 do
    if index ~= 2 then redis.call('PEXPIRE', KEYS[index], ARGV[9]) end
  end
end

local position = epoch .. ':' .. text(offset)
if id then redis.call('SET', id, position, 'PX', ARGV[10]) end
redis.call(ARGV[3], ARGV[2], place .. ARGV[1])
if ARGV[13] ~= '' then redis.call('PUBLISH', ARGV[13], place .. ARGV[1]) end
return {position, 0}
