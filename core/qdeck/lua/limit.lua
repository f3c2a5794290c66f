-- Promise: sets how many jobs of a queue may run at once and start a second, over all workers; on
--          record where an operator does it and it changes something. What the settings of a worker
--          say counts once: a restart does not overwrite an operator.
-- KEYS: meta wake audit
-- ARGV: limit ("": none), rate a second ("": none), actor ("": the settings of a worker), target in
--       words, id of the entry that this takes back ("": none), mark that must still stand ("": any)
-- Returns: 1 where that changed something, 0 where it stood so already, -1 where another mark
--          stands; the id of the audit entry ("": none)

local call = redis.call
for i, kind in ipairs({ 'hash', 'zset', 'stream' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', KEYS[1], 'limit', 'rate', 'limited', 'declared')
if ARGV[6] ~= '' and meta[3] ~= ARGV[6] then return { -1, '' } end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local mark = string.format('%.3f ', now + clock[2] % 1000 / 1000) .. ARGV[3]
local changed, entry, words, said = 0, '', {}, table.concat({ ARGV[1], ARGV[2] }, ' ')
local heard = ARGV[3] == '' and meta[4] == said
call('PERSIST', KEYS[1])
if ARGV[3] == '' then call('HSET', KEYS[1], 'declared', said) end
for i, name in ipairs({ 'limit', 'rate' }) do
  words[i] = name .. ' ' .. (ARGV[i] == '' and 'none' or ARGV[i])
  if not heard and (meta[i] or '') ~= ARGV[i] then
    changed = 1
    call(unpack(ARGV[i] ~= '' and { 'HSET', KEYS[1], name, ARGV[i] } or { 'HDEL', KEYS[1], name }))
  end
end
if changed == 1 then call('HSET', KEYS[1], 'limited', mark) end
if changed == 1 and ARGV[3] ~= '' then
  entry = call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'actor', ARGV[3], 'verb', 'limits',
    'target', ARGV[4], 'count', 1, 'outcome', table.concat(words, ', '), 'until',
    string.format('%.0f', now + 86400000), 'of', ARGV[5], 'undo', cjson.encode({ ['do'] = 'limits',
      limit = meta[1] or '', rate = meta[2] or '', mark = mark }))
end
-- Whoever wakes looks again; its claim puts the marker right.
call('ZADD', KEYS[2], 1, '1')
return { changed, entry }
