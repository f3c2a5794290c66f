-- Promise: takes waiting jobs out of their sets for another queue, on record; their records stay
--          until they have arrived there, their logs do not. A unique key that one held is free.
-- KEYS: ready scheduled retrying lease meta tasks moving audit wake logs
-- ARGV: tag, actor, target in words, name of the other queue, then the ids
-- Returns: the id of the audit entry ("": none), and for each id moved, running, linked (others wait
--          for it, or it for others), unreadable or gone (it is in no set of those that wait)

local call = redis.call
local tag, actor, queue = ARGV[1], ARGV[2], ARGV[4]
local kinds = { 'zset', 'zset', 'zset', 'zset', 'hash', 'hash', 'hash', 'stream', 'zset',
  'zset' }
for i = 1, 10 do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kinds[i] then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kinds[i])
  end
end
local states = { [KEYS[1]] = 'pending', [KEYS[2]] = 'scheduled', [KEYS[3]] = 'retrying' }
local function locate(id, task)
  for i = 1, 3 do
    local score = call('ZSCORE', KEYS[i], id)
    if score then return KEYS[i], states[KEYS[i]], score end
  end
  local held = tag .. 'held:' .. task
  local fine, score = pcall(call, 'ZSCORE', held, id)
  if fine and score then return held, 'pending', score end
end
-- Everything in a record that is used here is checked here.
local function decode(packed)
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[10]) ~= 'string' then return end
  return body
end

call('PERSIST', KEYS[5])
local answers, moved, bytes, held, freed = { '' }, 0, 0, 0, 0
local leaving, moves, seen = {}, {}, {}
for i = 5, #ARGV do
  local id, word = ARGV[i], 'gone'
  local packed = bytes < 4194304 and call('MGET', tag .. 'j:' .. id)[1] or nil
  bytes = bytes + #(packed or '')
  local body = decode(packed)
  local links = body and body[13]
  local from, state, score
  if body and not seen[id] then from, state, score = locate(id, body[1]) end
  seen[id] = true
  if call('ZSCORE', KEYS[4], id) then
    word = 'running'
  elseif packed and not body then
    word = 'unreadable'
  elseif from and type(links) == 'table' and (links[1] ~= '' or links[3] ~= 0) then
    word = 'linked'
  elseif from then
    word, moved = 'moved', moved + 1
    local unique = tag .. 'unique:' .. body[10]
    if body[10] ~= '' and call('MGET', unique)[1] == id then call('DEL', unique) end
    local fine, own = pcall(call, 'HGET', tag .. 'r:' .. id, 'logb')
    own = fine and tonumber(own or 0) or 0
    if own > 0 and own < 1e15 then freed = freed + own end
    call('UNLINK', tag .. 'res:' .. id, tag .. 'err:' .. id, tag .. 'at:' .. id, tag .. 'log:' .. id)
    call('ZREM', KEYS[10], id)
    local field = state .. ':' .. body[1]
    moves[field] = (moves[field] or 0) - 1
    if state == 'pending' and from ~= KEYS[1] then held = held - 1 end
    call('HSET', KEYS[7], id, queue .. ' ' .. (state == 'pending' and 0 or score))
    leaving[from] = leaving[from] or {}
    leaving[from][#leaving[from] + 1] = id
  end
  answers[#answers + 1] = word
end
if moved > 0 then
  answers[1] = call('XADD', KEYS[8], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'move',
    'target', ARGV[3], 'count', moved, 'outcome', 'to queue ' .. queue)
end
if held ~= 0 then call('HINCRBY', KEYS[5], 'held', held) end
if freed > 0 then call('HINCRBY', KEYS[5], 'log_bytes', string.format('%.0f', -freed)) end
for field, by in pairs(moves) do call('HINCRBY', KEYS[6], field, by) end
for from, ids in pairs(leaving) do call('ZREM', from, unpack(ids)) end
if call('ZCARD', KEYS[1]) == 0 then call('ZREMRANGEBYSCORE', KEYS[9], 0, 0) end
return answers
