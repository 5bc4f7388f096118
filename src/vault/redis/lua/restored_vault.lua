-- KEYS: the vault's restores. ARGV: a token for this restore on purpose
redis.call('SET', KEYS[1], (redis.call('GET', KEYS[1]) or '') .. ARGV[1])
return 1
