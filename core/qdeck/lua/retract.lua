-- Promise: deletes jobs that an act has made, each with its record, where nothing has begun them
--          yet: the one that is named, or up to `max` of those that are kept under a name.
-- KEYS: ready scheduled meta tasks wake audit
-- ARGV: tag, actor, target in words, id of the audit entry that this takes back, id of the job ("":
--       those kept under the name), the name ("": none), max
-- Returns: how many are taken back, how many had begun, how many are left alone for another reason
--          (gone, changed, or others wait for them), all since the first call, and how many are
--          still to look at; error QKIND, and then nothing was written

local call = redis.call
local ready, scheduled, meta_key, tasks_key, wake = unpack(KEYS)
local tag, actor, max = ARGV[1], ARGV[2], tonumber(ARGV[7])
local op_key = tag .. 'op:' .. ARGV[6]
local made = op_key .. ':ids'
local names = { unpack(KEYS) }
local kinds = { 'zset', 'zset', 'hash', 'hash', 'zset', 'stream', 'hash', 'zset' }
if ARGV[6] ~= '' then names[7], names[8] = op_key, made end
for i = 1, #names do
  local found = call('TYPE', names[i]).ok
  if found ~= 'none' and found ~= kinds[i] then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kinds[i])
  end
end
-- With: bounded
local ids, sums = { ARGV[5] }, { false, false, false }
if ARGV[6] ~= '' then
  ids, sums = call('ZRANGE', made, 0, max - 1), call('HMGET', op_key, 'undone', 'begun', 'left')
end
for i = 1, 3 do sums[i] = bounded(sums[i], 0) end

-- With: body
local function locate(id, task)
  for _, set in ipairs({ ready, scheduled, tag .. 'held:' .. task }) do
    local fine, score = pcall(call, 'ZSCORE', set, id)
    if fine and score then return set, set == scheduled and 'scheduled:' or 'pending:' end
  end
end

call('PERSIST', meta_key)
local moves, leaving, held, bytes, seen = {}, {}, 0, 0, {}
for _, id in ipairs(ids) do
  if bytes >= 4194304 then break end
  local packed = call('MGET', tag .. 'j:' .. id)[1]
  bytes = bytes + #(packed or '')
  local body = decode(packed)
  local links = body and body[13]
  local linked = type(links) == 'table' and (links[1] ~= '' or links[3] ~= 0)
  local fine, run = pcall(call, 'HGET', tag .. 'r:' .. id, 'run')
  local begun = fine and run
  local from, state
  if body and not begun and not linked then from, state = locate(id, body[1]) end
  local place = from and 1 or packed and begun and 2 or 3
  sums[place] = sums[place] + 1
  if from then
    local unique = tag .. 'unique:' .. body[10]
    if body[10] ~= '' and call('MGET', unique)[1] == id then call('DEL', unique) end
    if from ~= ready and from ~= scheduled then held = held - 1 end
    moves[state .. body[1]] = (moves[state .. body[1]] or 0) - 1
    leaving[from] = leaving[from] or {}
    leaving[from][#leaving[from] + 1] = id
  end
  seen[#seen + 1] = id
end
if held ~= 0 then call('HINCRBY', meta_key, 'held', held) end
for field, by in pairs(moves) do call('HINCRBY', tasks_key, field, by) end
local ahead = 0
if ARGV[6] ~= '' then
  if #seen > 0 then call('ZREM', made, unpack(seen)) end
  ahead = call('ZCARD', made)
  call('HSET', op_key, 'undone', sums[1], 'begun', sums[2], 'left', sums[3])
  call('EXPIRE', op_key, 90000)
end
if ahead == 0 and sums[1] > 0 then
  call('XADD', KEYS[6], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'undo', 'target',
    ARGV[3], 'count', sums[1], 'outcome', sums[1] .. ' taken back, ' .. sums[2] .. ' had begun, '
    .. sums[3] .. ' left alone', 'of', ARGV[4])
end
for from, members in pairs(leaving) do
  for _, id in ipairs(members) do call('UNLINK', tag .. 'j:' .. id, tag .. 'r:' .. id) end
  call('ZREM', from, unpack(members))
end
if call('ZCARD', ready) == 0 then call('ZREMRANGEBYSCORE', wake, 0, 0) end
return { sums[1], sums[2], sums[3], ahead }
