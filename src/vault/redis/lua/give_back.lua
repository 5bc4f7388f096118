-- ARGV: random, the restores that the host knows, then of each record: id, generation, label, record
if not give_restores(ARGV[2]) then return {'epoch'} end
local said = {'ok'}
for i = 3, #ARGV, 4 do
  local id, label, value = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local stored = redis.call('HGET', RECORDS, id)
  local owner = redis.call('HGET', LABELS, label)
  if redis.call('ZSCORE', GONE, id) then
    said[#said + 1] = 'gone'
  elseif stored and generation_of(stored) >= tonumber(ARGV[i + 1]) then
    said[#said + 1] = 'newer'
  elseif owner and owner ~= id then
    said[#said + 1] = 'taken'
  else
    local before = redis.call('HGET', NAMES, id)
    if before then redis.call('HDEL', LABELS, before) end
    redis.call('HSET', LABELS, label, id)
    redis.call('HSET', NAMES, id, label)
    redis.call('HSET', RECORDS, id, value)
    redis.call('HDEL', NOTES, id)
    redis.call('HDEL', FAILURES, id)
    append(ARGV[1], stored and 's' or 'p', value)
    said[#said + 1] = 'ok'
  end
end
return said
