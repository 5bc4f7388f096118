-- ARGV: random, id, label, record
if redis.call('HEXISTS', RECORDS, ARGV[2]) == 1 then return {'exists', ''} end
if redis.call('HSETNX', LABELS, ARGV[3], ARGV[2]) == 0 then return {'taken', ''} end
redis.call('HSET', NAMES, ARGV[2], ARGV[3])
redis.call('HSET', RECORDS, ARGV[2], ARGV[4])
redis.call('ZREM', GONE, ARGV[2])
append(ARGV[1], 'p', ARGV[4])
return {'ok', redis.call('GET', EPOCH) or ''}
