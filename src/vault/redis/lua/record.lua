-- ARGV: random, origin, number, then of each outcome: id, the generation that it refuses or '', json
local last = redis.call('HGET', BATCHES, ARGV[2])
if last and tonumber(last) >= tonumber(ARGV[3]) then return revision() end
local known = {}
for i = 4, #ARGV, 3 do
  local id, refused = ARGV[i], ARGV[i + 1]
  if redis.call('HEXISTS', RECORDS, id) == 1 then
    known[#known + 1] = ARGV[i + 2]
    if refused ~= '' then
      for _, key in ipairs({NOTES, FAILURES}) do
        local noted = redis.call('HGET', key, id)
        if noted and string.match(noted, '^(%d+)') == refused then redis.call('HDEL', key, id) end
      end
    end
  end
end
if #known == 0 then return revision() end
note_batch(ARGV[2], ARGV[3])
return append(ARGV[1], 'o', '[' .. table.concat(known, ',') .. ']', ARGV[2] .. ':' .. ARGV[3])
