-- ARGV: the last entry that the host has seen
local snapshot = redis.call('GET', SNAPSHOT) or ''
local entries = redis.call('XRANGE', LOG, digits(number_of(snapshot) + 1), '+')
local epoch = redis.call('GET', EPOCH) or ''
return {seen(ARGV[1]), revision(), epoch, snapshot, entries, redis.call('HGETALL', RECORDS)}
