-- ARGV: random, id
if redis.call('HDEL', RECORDS, ARGV[2]) == 0 then return 0 end
local label = redis.call('HGET', NAMES, ARGV[2])
if label then redis.call('HDEL', LABELS, label) end
redis.call('HDEL', NAMES, ARGV[2])
redis.call('HDEL', NOTES, ARGV[2])
redis.call('HDEL', FAILURES, ARGV[2])
local time = now()
redis.call('ZADD', GONE, time, ARGV[2])
redis.call('ZREMRANGEBYSCORE', GONE, '-inf', time - FORGET_GONE_AFTER)
append(ARGV[1], 'd', ARGV[2])
return 1
