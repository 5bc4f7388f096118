-- KEYS: the pool's, then the lease of each of these ids; ARGV: ids
-- Returns the refreshes that have stored nothing, unless the lease is held: id, '1' if it has failed, why.
local is_held = {}
for i, id in ipairs(ARGV) do is_held[id] = redis.call('GET', KEYS[12 + i]) end
local said = {}
-- Calls this with what is known of the record's own generation.
local function each(key, tell)
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local id, value = all[i], all[i + 1]
    local record = redis.call('HGET', RECORDS, id)
    local generation = record and generation_of(record)
    if generation and generation == generation_of(value) and not is_held[id] then tell(id, value) end
  end
end
local has_begun = {}
each(NOTES, function(id)
  has_begun[id] = true
  said[#said + 1] = {id, '', ''}
end)
each(FAILURES, function(id, value)
  -- Another one has begun since then.
  if has_begun[id] then return end
  said[#said + 1] = {id, '1', string.match(value, '^%d+:%d+:%d+:(.*)$') or ''}
end)
return said
