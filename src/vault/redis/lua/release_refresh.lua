-- ARGV: id, owner
if redis.call('GET', LEASE) == ARGV[2] then redis.call('DEL', LEASE) end
local note = redis.call('HGET', NOTES, ARGV[1])
if note then
  local generation, since, owner = string.match(note, '^(%d+):(%d+):([^:]*)')
  -- Nobody is at it any more, so the next one need not wait.
  if owner == ARGV[2] then
    redis.call('HSET', NOTES, ARGV[1], table.concat({generation, since, '', '', ''}, ':'))
  end
end
return 1
