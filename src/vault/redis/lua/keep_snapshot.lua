-- ARGV: the entry up to which the stored snapshot goes, snapshot, the oldest number that the log keeps
-- Returns the entry up to which the snapshot that is stored now goes.
local before = string.match(redis.call('GET', SNAPSHOT) or '', '^[^:]*')
if before ~= ARGV[1] then return before end
local id = string.match(ARGV[2], '^[^:]*')
-- The log may be another one by now.
if #redis.call('XRANGE', LOG, id, id) == 0 then return before end
redis.call('SET', SNAPSHOT, ARGV[2])
redis.call('XTRIM', LOG, 'MINID', ARGV[3])
return id
