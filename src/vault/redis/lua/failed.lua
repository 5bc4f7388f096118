-- ARGV: id, generation, owner or '', milliseconds to wait, how many in a row, reason
local value = redis.call('HGET', RECORDS, ARGV[1])
if not value then return 0 end
if generation_of(value) ~= tonumber(ARGV[2]) then return 1 end
local note = redis.call('HGET', NOTES, ARGV[1])
if note then
  -- A note of another holder's stays: it has begun since.
  local owner = string.match(note, '^%d+:%d+:([^:]*)')
  if owner == '' or owner == ARGV[3] then redis.call('HDEL', NOTES, ARGV[1]) end
end
local over = digits(now() + tonumber(ARGV[4]))
redis.call('HSET', FAILURES, ARGV[1], table.concat({ARGV[2], over, ARGV[5], ARGV[6]}, ':'))
return 1
