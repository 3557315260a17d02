-- Marks the database with the life that its server is in. Logs that were last written to in another one may have lost their ends.
-- A new life begins when a server restarts, and when a replica becomes a master: it then takes another replication ID (Redis
-- documentation, "Replication ID explained"), also where it was the master before.
-- KEYS  1 the mark
local function say(section, field) return string.match(redis.call('INFO', section), field .. ':(%w+)') end
local life = say('server', 'run_id') .. ':' .. say('replication', 'master_replid')
if redis.call('GET', KEYS[1]) ~= life then
  -- Where there is no room for it there is none, and the next message makes one.
  if redis.pcall('SET', KEYS[1], life).err then redis.call('DEL', KEYS[1]) end
end
return life
