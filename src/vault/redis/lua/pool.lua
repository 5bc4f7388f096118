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

local function append(random, kind, body, batch)
  local id = digits(number_of(revision()) + 1) .. '-' .. random
  if batch then
    redis.call('XADD', LOG, id, 'k', kind, 'b', body, 'n', batch)
  else
    redis.call('XADD', LOG, id, 'k', kind, 'b', body)
  end
  redis.call('SET', REVISION, id)
  return id
end
