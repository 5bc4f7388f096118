-- KEYS: the vault's identity. ARGV: the identity that it gets if it has none
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
