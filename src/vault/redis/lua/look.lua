-- Returns what is in each of the pool's keys, and whether it is of the right type.
local function look(none, command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply['err'] then
    if string.find(reply['err'], 'WRONGTYPE') then return {0, none} end
    error(reply['err'])
  end
  return {1, reply or none}
end
return {
  look({}, 'HGETALL', RECORDS), look({}, 'HGETALL', LABELS), look({}, 'HGETALL', NAMES),
  look('', 'GET', REVISION), look({}, 'XRANGE', LOG, '-', '+'), look('', 'GET', SNAPSHOT),
  look({}, 'HGETALL', NOTES), look({}, 'HGETALL', FAILURES),
  look({}, 'HGETALL', BATCHES), look(0, 'ZCARD', ORIGINS), look(0, 'ZCARD', GONE), look('', 'GET', EPOCH),
}
