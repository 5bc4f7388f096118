
-- Gives the engine the restores that a host knows. Returns whether the engine was not restored since.
local function give_restores(known)
  local log, restores = epoch()
  if string.sub(known, 1, #restores) ~= restores then return false end
  if known ~= restores then set_epoch(log, known) end
  return true
end
