-- ARGV: the last entry that the host has seen, how many entries to read
local is_seen = seen(ARGV[1])
if is_seen ~= 'same' then return {is_seen, revision(), {}} end
if ARGV[1] == revision() then return {is_seen, ARGV[1], {}} end
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return {is_seen, revision(), redis.call('XRANGE', LOG, from, '+', 'COUNT', ARGV[2])}
