-- Promise: takes waiting jobs out of their sets for another queue, on record; their records stay
--          until they have arrived there, their logs do not. A unique key that one held is free. As
--          a step of a bulk operation it takes those that are still frozen there, each once, and no
--          more than it was granted.
-- KEYS: ready scheduled retrying lease meta tasks moving audit wake logs
-- ARGV: tag, actor, target in words, name of the other queue, operation ("": none), then the ids;
--       with an operation that is not on record they are done at once, and the copy for an undo is
--       kept under its name
-- Returns: the id of the audit entry ("": none), the state of the operation ("": none), and id and
--          word in turn: moved, running, linked (others wait for it, or it for others), unreadable,
--          changed (it is not in the state that it was frozen in) or gone (in no set of those that
--          wait)

local call = redis.call
local tag, actor, queue = ARGV[1], ARGV[2], ARGV[4]
local operation = ARGV[5]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local op_key = tag .. 'op:' .. operation
local frozen, copy = op_key .. ':ids', op_key .. ':copy'
local names = { unpack(KEYS) }
local kinds = { 'zset', 'zset', 'zset', 'zset', 'hash', 'hash', 'hash', 'stream', 'zset',
  'zset', 'hash', 'zset', 'hash' }
if operation ~= '' then names[11], names[12], names[13] = op_key, frozen, copy end
for i = 1, #names do
  local found = call('TYPE', names[i]).ok
  if found ~= 'none' and found ~= kinds[i] then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kinds[i])
  end
end
-- With: bounded
local op, fields = {}, { 'state', 'total', 'done', 'ok', 'paced', 'grant', 'tokens', 'keep',
  'states', 'starter' }
if operation ~= '' then
  for i, value in ipairs(call('HMGET', op_key, unpack(fields))) do op[fields[i]] = value or nil end
end
local stepping, ids = op.state, {}
if stepping and op.state ~= 'running' then return { '', op.state } end
for i = 6, #ARGV do
  local granted = not stepping or not op.paced or #ids < bounded(op.grant, 0)
  if granted and (not stepping or call('ZSCORE', frozen, ARGV[i])) then ids[#ids + 1] = ARGV[i] end
end
local allowed, known = {}, op.states or ''
if known == '' then known = 'pending scheduled retrying' end
for word in string.gmatch(known, '%S+') do allowed[word] = true end
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
-- With: body

call('PERSIST', KEYS[5])
local answers, moved, bytes, held, freed = { '', '' }, 0, 0, 0, 0
local leaving, moves, seen, taken = {}, {}, {}, {}
for _, id in ipairs(ids) do
  local word = 'gone'
  if bytes >= 4194304 then
    if stepping then break end
  else
    local packed = call('MGET', tag .. 'j:' .. id)[1]
    bytes = bytes + #(packed or '')
    local body = decode(packed)
    local links = body and body[13]
    local from, state, score
    if body and not seen[id] then from, state, score = locate(id, body[1]) end
    if call('ZSCORE', KEYS[4], id) then
      word = 'running'
    elseif packed and not body then
      word = 'unreadable'
    elseif from and type(links) == 'table' and (links[1] ~= '' or links[3] ~= 0) then
      word = 'linked'
    elseif from and not allowed[state] then
      word = 'changed'
    elseif from then
      word, moved = 'moved', moved + 1
      local unique = tag .. 'unique:' .. body[10]
      if body[10] ~= '' and call('MGET', unique)[1] == id then call('DEL', unique) end
      local fine, own = pcall(call, 'HGET', tag .. 'r:' .. id, 'logb')
      own = fine and tonumber(own or 0) or 0
      if own > 0 and own < 1e15 then freed = freed + own end
      call('UNLINK', tag .. 'res:' .. id, tag .. 'err:' .. id, tag .. 'at:' .. id,
        tag .. 'log:' .. id)
      call('ZREM', KEYS[10], id)
      local field = state .. ':' .. body[1]
      moves[field] = (moves[field] or 0) - 1
      if state == 'pending' and from ~= KEYS[1] then held = held - 1 end
      if op.keep or operation ~= '' and not stepping then
        call('HSET', copy, id, state .. ' ' .. score)
      end
      call('HSET', KEYS[7], id, queue .. ' ' .. (state == 'pending' and 0 or score))
      leaving[from] = leaving[from] or {}
      leaving[from][#leaving[from] + 1] = id
    end
  end
  seen[id], taken[#taken + 1] = true, id
  answers[#answers + 1], answers[#answers + 2] = id, word
end
if held ~= 0 then call('HINCRBY', KEYS[5], 'held', held) end
if freed > 0 then call('HINCRBY', KEYS[5], 'log_bytes', string.format('%.0f', -freed)) end
for field, by in pairs(moves) do call('HINCRBY', KEYS[6], field, by) end
local ended = not stepping and moved > 0
if stepping then
  op.done, op.ok = bounded(op.done, 0) + #taken, bounded(op.ok, 0) + moved
  call('HSET', op_key, 'done', op.done, 'ok', op.ok, 'skipped', op.done - op.ok)
  if op.paced then
    call('HSET', op_key, 'tokens', bounded(op.tokens, 0) - #taken, 'grant',
      bounded(op.grant, 0) - #taken)
  end
  if call('EXISTS', copy) == 1 then call('EXPIRE', copy, 86400) end
  if #taken > 0 then call('ZREM', frozen, unpack(taken)) end
  ended = call('ZCARD', frozen) == 0
  answers[2] = ended and 'done' or 'running'
elseif operation ~= '' and ended then
  call('HSET', op_key, 'verb', 'move_queue', 'arg', queue, 'actor', actor, 'starter', actor,
    'created', now, 'total', #ids, 'done', #ids, 'ok', moved, 'skipped', #ids - moved)
  answers[2] = 'done'
end
if ended then
  local entry = { 'actor', op.starter or actor, 'verb', stepping and 'move_queue' or 'move',
    'target', stepping and (op.total or 0) .. ' jobs' or ARGV[3], 'count', op.ok or moved,
    'outcome', 'to queue ' .. queue }
  if operation ~= '' then
    call('HSET', op_key, 'state', 'done', 'finished', now)
    call('UNLINK', frozen)
    call('EXPIRE', op_key, stepping and 604800 or 86400)
  end
  if operation ~= '' and call('EXISTS', copy) == 1 then
    local until_ms = string.format('%.0f', now + 86400000)
    call('HSET', op_key, 'undo_until', until_ms)
    call('EXPIRE', copy, 86400)
    for _, part in ipairs({ 'undo', cjson.encode({ ['do'] = 'operation', id = operation }),
      'until', until_ms }) do entry[#entry + 1] = part end
  end
  answers[1] = call('XADD', KEYS[8], 'MAXLEN', '~', 10000, '*', unpack(entry))
end
for from, members in pairs(leaving) do call('ZREM', from, unpack(members)) end
if call('ZCARD', KEYS[1]) == 0 then call('ZREMRANGEBYSCORE', KEYS[9], 0, 0) end
return answers
