
-- Notes the last batch of an origin, unless a later one is known.
local function note_batch(origin, number)
  local last = redis.call('HGET', BATCHES, origin)
  if last and tonumber(last) >= tonumber(number) then return end
  redis.call('HSET', BATCHES, origin, number)
  redis.call('ZADD', ORIGINS, now(), origin)
  while redis.call('ZCARD', ORIGINS) > MOST_ORIGINS do
    redis.call('HDEL', BATCHES, redis.call('ZPOPMIN', ORIGINS)[1])
  end
end
