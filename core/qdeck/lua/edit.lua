-- Promise: replaces the record of one job that does not run, on record, and keeps the payload it had
--          in its run; a unique key that was made of the arguments follows them.
-- KEYS: lease audit
-- ARGV: tag, id, actor, target in words, SHA-1 of the record that was read, the new record, the
--       payload it had, digest of the unique key it has and of the one it gets ("": no change), id
--       of the entry that this takes back ("": none), mark of the edit that must still stand ("":
--       any)
-- Returns: done, running, changed (the record or the mark is another), unique (another job holds
--          the key); the id of the audit entry ("": none)

local call = redis.call
local tag, id, actor = ARGV[1], ARGV[2], ARGV[3]
for i, kind in ipairs({ 'zset', 'stream' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local record, run = tag .. 'j:' .. id, tag .. 'r:' .. id
if call('ZSCORE', KEYS[1], id) then return { 'running', '' } end
local packed, fine, mark = call('MGET', record)[1], pcall(call, 'HGET', run, 'edited')
if not packed or redis.sha1hex(packed) ~= ARGV[5] or ARGV[11] ~= '' and mark ~= ARGV[11] then
  return { 'changed', '' }
end
local old, new = tag .. 'unique:' .. ARGV[8], tag .. 'unique:' .. ARGV[9]
local holds = ARGV[9] ~= '' and call('MGET', old)[1] == id
if holds and (call('MGET', new)[1] or id) ~= id then return { 'unique', '' } end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
mark = string.format('%.3f ', now + clock[2] % 1000 / 1000) .. actor

if not fine then call('DEL', run) end
call('HSET', run, 'was', ARGV[7], 'edited', mark)
if holds then
  call('DEL', old)
  call('SET', new, id)
end
local entry = call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'edit',
  'target', ARGV[4], 'count', 1, 'outcome', 'payload replaced', 'of', ARGV[10], 'until',
  string.format('%.0f', now + 86400000), 'undo',
  cjson.encode({ ['do'] = 'edit', id = id, mark = mark }))
call('SET', record, ARGV[6])
return { 'done', entry }
