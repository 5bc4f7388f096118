-- KEYS: the lease; ARGV: owner, milliseconds
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'yours', 0} end
return {'held', math.max(1, redis.call('PTTL', KEYS[1]))}
