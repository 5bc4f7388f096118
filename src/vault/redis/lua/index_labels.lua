-- ARGV: the last entry that was read, then each id and its label
if revision() ~= ARGV[1] then return 0 end
redis.call('DEL', LABELS, NAMES)
for i = 2, #ARGV, 2 do
  redis.call('HSET', LABELS, ARGV[i + 1], ARGV[i])
  redis.call('HSET', NAMES, ARGV[i], ARGV[i + 1])
end
return 1
