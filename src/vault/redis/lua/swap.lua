-- ARGV: random, id, the expected `generation.version`, record, what changes: 'secret', 'label' or 'seal', label
local value = redis.call('HGET', RECORDS, ARGV[2])
if not value then return {'gone'} end
if string.match(value, '^[^:]*') ~= ARGV[3] then return {'other', value} end
if ARGV[5] == 'label' then
  local owner = redis.call('HGET', LABELS, ARGV[6])
  if owner and owner ~= ARGV[2] then return {'taken'} end
  local before = redis.call('HGET', NAMES, ARGV[2])
  if before then redis.call('HDEL', LABELS, before) end
  redis.call('HSET', LABELS, ARGV[6], ARGV[2])
  redis.call('HSET', NAMES, ARGV[2], ARGV[6])
end
redis.call('HSET', RECORDS, ARGV[2], ARGV[4])
if ARGV[5] == 'secret' then
  redis.call('HDEL', NOTES, ARGV[2])
  redis.call('HDEL', FAILURES, ARGV[2])
end
if ARGV[5] ~= 'seal' then append(ARGV[1], 's', ARGV[4]) end
return {'ok', redis.call('GET', EPOCH) or ''}
