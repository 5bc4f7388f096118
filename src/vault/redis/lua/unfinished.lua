-- KEYS: the pool's, then the lease of each of these ids; ARGV: ids
-- Returns those whose refresh has stored nothing, unless the lease is held: id, '1' if it has failed, why.
local said = {}
for i, id in ipairs(ARGV) do
  local record = redis.call('HGET', RECORDS, id)
  local generation = record and generation_of(record)
  -- Returns what is noted of the record's own generation.
  local function noted(key)
    local value = redis.call('HGET', key, id)
    if value and generation_of(value) == generation then return value end
  end
  if generation and not redis.call('GET', KEYS[12 + i]) then
    local failure = noted(FAILURES)
    if noted(NOTES) then
      -- If another one has failed, that was before.
      said[#said + 1] = {id, '', ''}
    elseif failure then
      said[#said + 1] = {id, '1', string.match(failure, '^%d+:%d+:%d+:(.*)$') or ''}
    end
  end
end
return said
