-- ARGV: random, id, place
if redis.call('HEXISTS', RECORDS, ARGV[2]) == 0 then return 0 end
append(ARGV[1], 'm', ARGV[2] .. ':' .. ARGV[3])
return 1
