-- ARGV: id, owner, milliseconds of the lease, of grace, of an exchange, the engine's run
if redis.call('HEXISTS', RECORDS, ARGV[1]) == 0 then return {'gone', 0} end
if not redis.call('SET', LEASE, ARGV[2], 'NX', 'PX', ARGV[3]) then
  return {'held', math.max(1, redis.call('PTTL', LEASE))}
end
local note = redis.call('HGET', NOTES, ARGV[1])
if not note then return {'yours', 0} end
local generation, since, owner, run, found = string.match(note, '^(%d+):(%d+):([^:]*):([^:]*):(%d*)$')
if not owner or owner == '' then return {'yours', 0} end
-- The lease of its owner has lapsed, who may still have an exchange under way, or a new secret to store.
local time, grace, exchange = now(), tonumber(ARGV[4]), tonumber(ARGV[5])
if found == '' then
  found = digits(time)
  redis.call('HSET', NOTES, ARGV[1], table.concat({generation, since, owner, run, found}, ':'))
end
local over
if run ~= '' and run == ARGV[6] then
  over = math.max(tonumber(found), tonumber(since) + exchange) + grace
else
  -- An engine that was started since may have lost the lease early.
  over = tonumber(found) + exchange + grace
end
if over > time then
  redis.call('DEL', LEASE)
  return {'wait', over - time}
end
return {'yours', 0}
