
-- Whether the log still is the one of which a host has seen the entry `id`.
local function seen(id)
  if id == '' then return 'same' end
  local number = number_of(id)
  if number > number_of(revision()) then return 'forgotten' end
  if #redis.call('XRANGE', LOG, id, id) == 1 then return 'same' end
  local same = digits(number)
  if #redis.call('XRANGE', LOG, same, same, 'COUNT', 1) == 1 then return 'forgotten' end
  return 'trimmed'
end
