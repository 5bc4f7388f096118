-- ARGV: id, generation, owner or '', milliseconds of an exchange, the engine's run
local value = redis.call('HGET', RECORDS, ARGV[1])
if not value then return {'gone'} end
if generation_of(value) ~= tonumber(ARGV[2]) then return {'other', value} end
local holder = redis.call('GET', LEASE) or ''
if holder ~= ARGV[3] then return {'lost'} end
local time = now()
local left, in_a_row, reason = '', '', ''
local failure = redis.call('HGET', FAILURES, ARGV[1])
if failure then
  local generation, over
  generation, over, in_a_row, reason = string.match(failure, '^(%d+):(%d+):(%d+):(.*)$')
  if generation == ARGV[2] then
    left = digits(math.max(0, tonumber(over) - time))
    if left ~= '0' then return {'failed', value, '', left, in_a_row, reason} end
  end
end
if holder ~= '' and redis.call('PTTL', LEASE) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', LEASE, ARGV[4])
end
local since = ''
local note = redis.call('HGET', NOTES, ARGV[1])
if note then
  local generation, began = string.match(note, '^(%d+):(%d+)')
  if generation == ARGV[2] then since = began end
end
redis.call('HSET', NOTES, ARGV[1], table.concat({ARGV[2], digits(time), ARGV[3], ARGV[5], ''}, ':'))
return {'begun', value, since, left, in_a_row, reason}
