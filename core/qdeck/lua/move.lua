-- Promise: does an operator's verb to each named job whose state allows it, and says what became of
--          the others; as a step of a bulk operation it takes its ids from there, each once.
-- KEYS: ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs
-- ARGV: tag, verb (cancel, run_now, retry, delete), actor, states allowed (joined by spaces),
--       operation ("": none), max, then the ids (none for an operation)
-- Returns: for each id the id, the state it was in ("": unknown), the word of the outcome
--          (pending, cancelled, requested, deleted, finished, refused, unique) and its owner;
--          for an operation first its state, total, done, ok and skipped

local call = redis.call
local ready, lease, meta_key, tasks_key = KEYS[1], KEYS[4], KEYS[9], KEYS[11]
local tag, verb, actor, operation, max = ARGV[1], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local allowed = {}
for word in string.gmatch(ARGV[4], '%S+') do allowed[word] = true end

local function expect(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    error({ err = 'QKIND ' .. name .. ' is a ' .. found .. ', not a ' .. kind })
  end
end
for i = 1, 7 do expect(KEYS[i], 'zset') end
for i = 8, 11 do expect(KEYS[i], 'hash') end
expect(KEYS[12], 'zset')
expect(KEYS[13], 'zset')
local function clear_unless(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then call('DEL', name) end
end

local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark')
local paused = {}
for task in string.gmatch((meta[6] or '') .. '\n' .. (meta[7] or ''), '[^\n]+') do
  paused[task] = true
end

local ids, op_key = {}, tag .. 'op:' .. operation
local frozen = op_key .. ':ids'
if operation ~= '' then
  expect(op_key, 'hash')
  expect(frozen, 'zset')
  if call('HGET', op_key, 'state') ~= 'running' then
    local op = call('HMGET', op_key, 'state', 'total', 'done', 'ok', 'skipped')
    return { op[1] or 'gone', tonumber(op[2] or 0), tonumber(op[3] or 0), tonumber(op[4] or 0),
      tonumber(op[5] or 0) }
  end
  ids = call('ZRANGE', frozen, 0, max - 1)
else
  for i = 7, #ARGV do ids[#ids + 1] = ARGV[i] end
end

local where = { { 'pending', ready }, { 'scheduled', KEYS[2] }, { 'retrying', KEYS[3] },
  { 'running', lease }, { 'completed', KEYS[5] }, { 'cancelled', KEYS[6] }, { 'dead', KEYS[7] } }
local function locate(id, task)
  for i = 1, #where do
    if call('ZSCORE', where[i][2], id) then return where[i][1], where[i][2] end
  end
  local held = tag .. 'held:' .. task
  if call('TYPE', held).ok == 'zset' and call('ZSCORE', held, id) then return 'pending', held end
  return '', nil
end
local moves, totals, plans, held_change = {}, {}, {}, 0
local function count(field, by) moves[field] = (moves[field] or 0) + by end
local function leave_group(id, run)
  if not run[4] then return end
  local group = tag .. 'errors:' .. run[4]
  if call('TYPE', group).ok == 'zset' then
    call('ZREM', group, id)
    if call('ZCARD', group) == 0 then call('HDEL', KEYS[8], run[4]) end
  end
end

call('PERSIST', meta_key)
local answers, done, ok = {}, 0, 0
local seq = tonumber(call('HGET', meta_key, 'seq') or 0)
for i = 1, #ids do
  local id = ids[i]
  local key, packed = tag .. 'r:' .. id, nil
  if call('TYPE', tag .. 'j:' .. id).ok == 'string' then packed = call('GET', tag .. 'j:' .. id) end
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[3]) ~= 'number' then
    body = nil
  end
  local task = body and body[1] or '?'
  clear_unless(key, 'hash')
  local run = call('HMGET', key, 'attempt', 'owner', 'logb', 'fp', 'state')
  local state, from = locate(id, task)
  local outcome, to, score = 'refused', nil, now
  local digest = body and body[10] ~= '' and tag .. 'unique:' .. body[10]
  local until_ms = digest and record[1] + body[11]
  if state == '' and packed and verb == 'delete' then state, outcome = 'pending', 'deleted' end
  if state == 'completed' or state == 'dead' or state == 'cancelled' then
    if verb == 'cancel' then outcome = 'finished' end
  end
  if state ~= '' and allowed[state] then
    if verb == 'cancel' and state == 'running' then
      call('HSET', key, 'cancel', actor)
      outcome = 'requested'
    elseif verb == 'cancel' then
      call('HSET', key, 'state', 'cancelled', 'finished', now, 'reason', 'cancelled by ' .. actor,
        'task', task)
      totals.cancelled = (totals.cancelled or 0) + 1
      outcome, to = 'cancelled', KEYS[6]
    elseif verb == 'delete' then
      outcome = 'deleted'
    elseif not body then
      outcome = 'unreadable'
    else
      local holder = digest and call('GET', digest)
      if verb == 'retry' and holder and holder ~= id then
        outcome = 'unique'
      else
        seq = seq + 1
        outcome, score = 'pending', (9 - body[3]) * 4398046511104 + seq
        to = paused[task] and tag .. 'held:' .. task or ready
        if to ~= ready then
          expect(to, 'zset')
          held_change = held_change + 1
        end
        if verb == 'retry' then
          if digest then call('SET', digest, id) end
          leave_group(id, run)
          call('HDEL', key, 'fp', 'reason', 'finished', 'crashes', 'cancel', 'unknown')
          call('HSET', key, 'state', 'pending', 'base', run[1] or 0)
          call('ZREM', KEYS[13], id)
        elseif run[1] then
          call('HSET', key, 'state', 'pending')
        end
      end
    end
  end
  if (outcome == 'cancelled' or outcome == 'deleted') and digest
    and call('GET', digest) == id then
    if until_ms > now and outcome == 'cancelled' then
      call('PEXPIREAT', digest, until_ms)
    else
      call('DEL', digest)
    end
  end
  if outcome == 'deleted' then
    leave_group(id, run)
    if run[3] then call('HINCRBY', meta_key, 'log_bytes', -tonumber(run[3])) end
    call('ZREM', KEYS[13], id)
    if from then call('ZREM', from, id) end
    call('UNLINK', tag .. 'j:' .. id, key, tag .. 'res:' .. id, tag .. 'err:' .. id,
      tag .. 'at:' .. id, tag .. 'log:' .. id)
  end
  if to or outcome == 'deleted' then
    if from and from ~= ready and state == 'pending' then held_change = held_change - 1 end
    if from then count(state .. ':' .. task, -1) end
  end
  if to then
    count((to == KEYS[6] and 'cancelled:' or 'pending:') .. task, 1)
    plans[#plans + 1] = { id, from, to, score }
  end
  done = done + 1
  if outcome ~= 'refused' and outcome ~= 'finished' and outcome ~= 'unique'
    and outcome ~= 'unreadable' then
    ok = ok + 1
  end
  answers[#answers + 1] = id
  answers[#answers + 1] = state
  answers[#answers + 1] = outcome
  answers[#answers + 1] = outcome == 'requested' and run[2] or ''
end
call('HSET', meta_key, 'seq', string.format('%.0f', seq))
if held_change ~= 0 then call('HINCRBY', meta_key, 'held', held_change) end
for field, by in pairs(moves) do
  if by ~= 0 then call('HINCRBY', tasks_key, field, by) end
end
for field, by in pairs(totals) do call('HINCRBY', KEYS[10], field, by) end
for i = 1, #plans do
  local id, from, to, score = unpack(plans[i])
  call('ZREM', from, id)
  call('ZADD', to, score, id)
end
if operation ~= '' then
  if #ids > 0 then call('ZREM', frozen, unpack(ids)) end
  call('HINCRBY', op_key, 'done', done)
  call('HINCRBY', op_key, 'ok', ok)
  call('HINCRBY', op_key, 'skipped', done - ok)
  if call('ZCARD', frozen) == 0 then
    call('HSET', op_key, 'state', 'done', 'finished', now)
    call('EXPIRE', op_key, 604800)
  end
  local op = call('HMGET', op_key, 'state', 'total', 'done', 'ok', 'skipped')
  answers = { op[1], tonumber(op[2]), tonumber(op[3]), tonumber(op[4]), tonumber(op[5]) }
end

-- The marker stands exactly if a job could be started now.
local open = not meta[1] and call('ZCARD', ready) > 0
if open and meta[2] then open = call('ZCARD', lease) < tonumber(meta[2]) end
if open and meta[3] then
  local gone = math.max(now - tonumber(meta[5] or now), 0)
  open = tonumber(meta[4] or 1) + gone * tonumber(meta[3]) / 1000 >= 1
end
if open then call('ZADD', KEYS[12], 0, '1') else call('DEL', KEYS[12]) end
return answers
