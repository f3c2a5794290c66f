-- Promise: leaves a worker that is known a command, on record.
-- KEYS: workers audit
-- ARGV: tag, worker, command, verb, actor, outcome in words, how it is taken back (JSON; "": not at
--       all), id of the entry that this takes back ("": none), group of verbs that undo each other,
--       mark of that group that must still stand ("": any)
-- Returns: 1, 0 where the worker is not known, -1 where another mark stands; the id of the audit
--          entry ("": none)

local call = redis.call
local tag, worker = ARGV[1], ARGV[2]
local key, control = tag .. 'w:' .. worker, tag .. 'ctl:' .. worker
local names = { KEYS[1], KEYS[2], key, control }
for i, kind in ipairs({ 'zset', 'stream', 'hash', 'list' }) do
  local found = call('TYPE', names[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local field = 'asked:' .. ARGV[9]
local known = call('HMGET', key, 'beat', field)
if not known[1] then return { 0, '' } end
if ARGV[10] ~= '' and known[2] ~= ARGV[10] then return { -1, '' } end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local mark = string.format('%.3f ', now + clock[2] % 1000 / 1000) .. ARGV[5]

call('PERSIST', KEYS[1])
call('HSET', key, field, mark)
local entry = { 'actor', ARGV[5], 'verb', ARGV[4], 'target', 'worker ' .. worker, 'count', 1,
  'outcome', ARGV[6], 'of', ARGV[8] }
if ARGV[7] ~= '' then
  local undo = cjson.decode(ARGV[7])
  undo.worker, undo.mark = worker, mark
  for _, part in ipairs({ 'until', string.format('%.0f', now + 86400000), 'undo',
    cjson.encode(undo) }) do
    entry[#entry + 1] = part
  end
end
local id = call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', unpack(entry))
call('RPUSH', control, ARGV[3])
call('EXPIRE', control, 86400)
return { 1, id }
