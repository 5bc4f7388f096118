local RECORDS, LABELS, NAMES, REVISION, LOG, SNAPSHOT, NOTES, FAILURES, BATCHES, ORIGINS, GONE, EPOCH, LEASE =
  unpack(KEYS)
local FORGET_GONE_AFTER = 30 * 24 * 3600 * 1000
local MOST_ORIGINS = 1024

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function digits(number) return string.format('%.0f', number) end

local function revision() return redis.call('GET', REVISION) or '' end

local function number_of(id) return tonumber(string.match(id, '^(%d+)')) or 0 end

-- The generation of a stored record, `generation.version:json`.
local function generation_of(value) return tonumber(string.match(value, '^(%d+)')) end

-- The epoch is `LOG:RESTORES`: what tells the log from others, and a token for each restore on purpose.
local function epoch()
  local log, restores = string.match(redis.call('GET', EPOCH) or '', '^([^:]*):?(.*)$')
  return log, restores
end

local function set_epoch(log, restores) redis.call('SET', EPOCH, log .. ':' .. restores) end

local function append(random, kind, body, batch)
  local number = number_of(revision()) + 1
  local id = digits(number) .. '-' .. random
  if number == 1 then
    local _, restores = epoch()
    set_epoch(random, restores)
  end
  if batch then
    redis.call('XADD', LOG, id, 'k', kind, 'b', body, 'n', batch)
  else
    redis.call('XADD', LOG, id, 'k', kind, 'b', body)
  end
  redis.call('SET', REVISION, id)
  return id
end
