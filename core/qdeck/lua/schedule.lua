-- Promise: adds, changes or removes one schedule if it still has the revision that the caller saw;
--          its last slot, last job and history stay.
-- KEYS: meta wake cron cron:due audit
-- ARGV: tag, name, revision ("": there is none yet), "1" to count a new revision, spec ("": remove
--       it), declared, enabled (1 or 0), until_ms (0: never), next_ms (0: none, "": as it is),
--       what happened to a new one elsewhere (msgpack [last_ms, history]; "": nothing), actor, verb and outcome for the record (verb "": none)
--       and the id of the entry that this takes back ("": none)
--       A schedule is what tick.lua says.
-- Returns: the revision, 0 where it was removed; -1 where another one stands, or -2 where the slot
--          was handled meanwhile, and then nothing was written; error QKIND likewise

local call = redis.call
local meta_key, wake, cron, due_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, revision, spec = ARGV[2], ARGV[3], ARGV[5]
local enabled, until_ms, next_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'hash', 'zset', 'hash', 'zset', 'stream' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local cron_at = tonumber(call('HGET', meta_key, 'cron_at') or '')
local packed = call('HGET', cron, name)
local fine, row = pcall(cmsgpack.unpack, packed or '')
fine = packed and fine and type(row) == 'table' and type(row[6]) == 'string'
  and type(row[11]) == 'table'
for i = 1, 5 do fine = fine and type(row[i]) == 'number' end
-- One that cannot be read has revision 0: it can be removed, and replaced.
if not fine then
  local known, past = pcall(cmsgpack.unpack, ARGV[10])
  if not known or type(past) ~= 'table' or type(past[2]) ~= 'table' then past = { 0, {} } end
  row = { 0, 1, 0, 0, tonumber(past[1]) or 0, '', '', '', 0, '', past[2] }
end
if (packed and string.format('%.0f', row[1]) or '') ~= revision then return -1 end
next_ms = next_ms or row[2] == 1 and row[4] or 0
-- A slot that was handled never comes again.
if next_ms > 0 and next_ms <= row[5] and enabled == 1 then return -2 end

local undo = { ['do'] = 'schedule', name = name, spec = row[7], declared = row[8], enabled = row[2],
  ['until'] = string.format('%.0f', row[3]) }
if ARGV[12] == 'move schedule' then
  undo = { ['do'] = 'schedule_move', name = name, queue = string.match(ARGV[13], '^from (%S+) to ') }
elseif spec == '' then
  undo.last, undo.history = string.format('%.0f', row[5]), row[11]
end
if spec == '' or enabled == 0 then call('PERSIST', meta_key) end
local at = 0
if spec == '' then
  row[1] = 0
  call('HDEL', cron, name)
else
  if ARGV[4] == '1' then
    row[1], row[9], row[10] = row[1] + 1, now, ARGV[11]
  end
  at = enabled == 1 and next_ms or until_ms
  row[2], row[3], row[4], row[7], row[8] = enabled, until_ms, at, spec, ARGV[6]
  call('HSET', cron, name, cmsgpack.pack(row))
end
if at > 0 then call('ZADD', due_key, at, name) else call('ZREM', due_key, name) end
local first = tonumber(call('ZRANGE', due_key, 0, 0, 'WITHSCORES')[2] or '')
if first then
  call('HSET', meta_key, 'cron_at', string.format('%.0f', first))
  -- What is earlier than workers know wakes one.
  if not cron_at or first < cron_at then call('ZADD', wake, 1, '1') end
else
  call('HDEL', meta_key, 'cron_at')
end
if ARGV[12] ~= '' then
  local entry = { 'actor', ARGV[11], 'verb', ARGV[12], 'target', name, 'count', 1, 'outcome',
    ARGV[13], 'of', ARGV[14] }
  if ARGV[12] ~= 'move schedule' or undo.queue then
    undo.revision = string.format('%.0f', row[1])
    for _, part in ipairs({ 'until', string.format('%.0f', now + 86400000), 'undo',
      cjson.encode(undo) }) do
      entry[#entry + 1] = part
    end
  end
  call('XADD', KEYS[5], 'MAXLEN', '~', 10000, '*', unpack(entry))
end
return row[1]
