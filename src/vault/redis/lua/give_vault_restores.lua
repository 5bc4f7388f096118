-- KEYS: the vault's restores. ARGV: those that a host knows
local restores = redis.call('GET', KEYS[1]) or ''
if string.sub(ARGV[1], 1, #restores) ~= restores then return 0 end
if ARGV[1] ~= restores then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
