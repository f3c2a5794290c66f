-- Promise: does an operator's verb to each named job whose state allows it, and says what became of
--          the others; as a step of a bulk operation it takes its ids from there, each once.
-- KEYS: ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs
-- ARGV: tag, verb (cancel, run_now, retry, delete), actor, states allowed (joined by spaces),
--       operation ("": none), max, then the ids (none for an operation)
-- Returns: for each id the id, the state it was in ("": unknown), the word of the outcome
--          (pending, cancelled, requested, deleted, finished, refused, unique, unreadable) and its
--          owner; for an operation only its state, total, done, ok and skipped; error QKIND, and
--          then nothing was written

local call = redis.call
local ready, lease, meta_key, tasks_key, wake = KEYS[1], KEYS[4], KEYS[9], KEYS[11], KEYS[12]
local tag, verb, actor, operation, max = ARGV[1], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local allowed = {}
for word in string.gmatch(ARGV[4], '%S+') do allowed[word] = true end

local op_key = tag .. 'op:' .. operation
local frozen = op_key .. ':ids'
local names, hashes = { unpack(KEYS) }, { [8] = 1, [9] = 1, [10] = 1, [11] = 1, [14] = 1 }
if operation ~= '' then names[14], names[15] = op_key, frozen end
for i = 1, #names do
  local found, kind = call('TYPE', names[i]).ok, hashes[i] and 'hash' or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local function bounded(value, default)
  local number = tonumber(value)
  return number and number > -1e15 and number < 1e15 and number or default
end
local function operation_now()
  local op = call('HMGET', op_key, 'state', 'total', 'done', 'ok', 'skipped')
  return { op[1] or 'gone', bounded(op[2], 0), bounded(op[3], 0), bounded(op[4], 0),
    bounded(op[5], 0) }
end
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark', 'seq')
local paused = {}
for task in string.gmatch((meta[6] or '') .. '\n' .. (meta[7] or ''), '[^\n]+') do
  paused[task] = true
end
local ids = {}
if operation == '' then
  for i = 7, #ARGV do ids[#ids + 1] = ARGV[i] end
else
  local answer = operation_now()
  if answer[1] ~= 'running' then return answer end
  ids = call('ZRANGE', frozen, 0, max - 1)
end

local function clear_unless(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then call('DEL', name) end
end
-- Everything in a record that is used here is checked here.
local function decode(packed)
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[10]) ~= 'string' then return end
  for _, number in ipairs({ record[1] or '', body[3] or '', body[11] or '' }) do
    if type(number) ~= 'number' or not bounded(number) then return end
  end
  return body, record
end
local sets = { pending = ready, scheduled = KEYS[2], retrying = KEYS[3], running = lease,
  completed = KEYS[5], cancelled = KEYS[6], dead = KEYS[7] }
local order = { 'pending', 'scheduled', 'dead', 'cancelled', 'retrying', 'completed', 'running' }
local function locate(id, task, hint)
  -- What the run says is nearly always right; the sets decide.
  if sets[hint] and call('ZSCORE', sets[hint], id) then return hint, sets[hint] end
  for _, state in ipairs(order) do
    if state ~= hint and call('ZSCORE', sets[state], id) then return state, sets[state] end
  end
  for name in pairs(task == '?' and paused or { [task] = true }) do
    local held = tag .. 'held:' .. name
    local fine, score = pcall(call, 'ZSCORE', held, id)
    if fine and score then return 'pending', held end
  end
  return '', nil
end
local moves, totals, held_change, bytes = {}, 0, 0, 0
local entering, leaving = {}, {}
local function count(field, by) moves[field] = (moves[field] or 0) + by end
local function leave_group(id, fingerprint)
  if not fingerprint then return end
  local group = tag .. 'errors:' .. fingerprint
  if call('TYPE', group).ok == 'zset' then
    call('ZREM', group, id)
    if call('ZCARD', group) == 0 then call('HDEL', KEYS[8], fingerprint) end
  end
end

call('PERSIST', meta_key)
local answers, taken, done, ok, known = {}, {}, 0, 0, {}
local seq = bounded(meta[8], 0)
for i = 1, #ids do
  if operation ~= '' and bytes >= 4194304 then break end
  local id = ids[i]
  local key, packed = tag .. 'r:' .. id, call('MGET', tag .. 'j:' .. id)[1]
  bytes = bytes + #(packed or '')
  taken[i] = id
  local body, record = decode(packed)
  local fine, run = pcall(call, 'HMGET', key, 'attempt', 'owner', 'logb', 'fp', 'logn', 'task',
    'state')
  if not fine then
    call('DEL', key)
    run = {}
  end
  local task = body and body[1] or run[6] or '?'
  local state, from = locate(id, task, run[7] or 'pending')
  -- An id named twice was changed already: its move is planned, its set changes last.
  if known[id] then state, from = known[id], nil end
  local outcome, to, score = 'refused', nil, now
  local digest = body and body[10] ~= '' and tag .. 'unique:' .. body[10]
  local function holder() return digest and call('MGET', digest)[1] end
  if not from then
    if state == '' and packed and verb == 'delete' and not known[id] then outcome = 'deleted' end
  elseif verb == 'cancel' and not allowed[state] then
    outcome = 'finished'
  elseif not allowed[state] then
    outcome = 'refused'
  elseif verb == 'cancel' and state == 'running' then
    call('HSET', key, 'cancel', actor)
    outcome = 'requested'
  elseif verb == 'cancel' then
    call('HSET', key, 'state', 'cancelled', 'finished', now, 'reason', 'cancelled by ' .. actor,
      'task', task)
    if run[5] then call('ZADD', KEYS[13], now, id) end
    totals = totals + 1
    outcome, to = 'cancelled', KEYS[6]
  elseif verb == 'delete' then
    outcome = 'deleted'
  elseif not body then
    outcome = 'unreadable'
  elseif verb == 'retry' and (holder() or id) ~= id then
    outcome = 'unique'
  else
    seq = seq + 1
    outcome, score = 'pending', (9 - body[3]) * 4398046511104 + seq
    to = paused[task] and tag .. 'held:' .. task or ready
    if to ~= ready then
      clear_unless(to, 'zset')
      held_change = held_change + 1
    end
    if verb == 'retry' then
      if digest then call('SET', digest, id) end
      leave_group(id, run[4])
      call('HDEL', key, 'fp', 'reason', 'finished', 'crashes', 'cancel', 'unknown')
      call('HSET', key, 'state', 'pending', 'since', now, 'base', bounded(run[1] or 0, 0))
      call('ZREM', KEYS[13], id)
    elseif run[1] then
      call('HSET', key, 'state', 'pending', 'since', now)
    end
  end
  if (outcome == 'cancelled' or outcome == 'deleted') and holder() == id then
    local until_ms = record[1] + body[11]
    if until_ms > now and outcome == 'cancelled' then
      call('PEXPIREAT', digest, string.format('%.0f', until_ms))
    else
      call('DEL', digest)
    end
  end
  if outcome == 'deleted' then
    leave_group(id, run[4])
    local own = bounded(run[3] or 0, 0)
    if own ~= 0 then call('HINCRBY', meta_key, 'log_bytes', -own) end
    call('ZREM', KEYS[13], id)
    if from then call('ZREM', from, id) end
    call('UNLINK', tag .. 'j:' .. id, key, tag .. 'res:' .. id, tag .. 'err:' .. id,
      tag .. 'at:' .. id, tag .. 'log:' .. id)
  end
  if from and (to or outcome == 'deleted') then
    if from ~= ready and state == 'pending' then held_change = held_change - 1 end
    count(state .. ':' .. task, -1)
    known[id] = outcome == 'deleted' and '' or outcome
  end
  if to then
    count((to == KEYS[6] and 'cancelled:' or 'pending:') .. task, 1)
    local target, source = entering[to] or {}, leaving[from] or {}
    entering[to], leaving[from] = target, source
    target[#target + 1], target[#target + 2], source[#source + 1] = score, id, id
  end
  done = done + 1
  if outcome == 'pending' or outcome == 'cancelled' or outcome == 'requested'
    or outcome == 'deleted' then
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
if totals > 0 then call('HINCRBY', KEYS[10], 'cancelled', totals) end
for to, list in pairs(entering) do call('ZADD', to, unpack(list)) end
for from, list in pairs(leaving) do call('ZREM', from, unpack(list)) end
if operation ~= '' then
  if #taken > 0 then call('ZREM', frozen, unpack(taken)) end
  call('HINCRBY', op_key, 'done', done)
  call('HINCRBY', op_key, 'ok', ok)
  call('HINCRBY', op_key, 'skipped', done - ok)
  if call('ZCARD', frozen) == 0 then
    call('HSET', op_key, 'state', 'done', 'finished', now)
    call('EXPIRE', op_key, 604800)
  end
  answers = operation_now()
end

-- The marker stands exactly if a job could be started now (score 0), or until a worker looked
-- (score 1) where one waits for a token.
local open, rate = not meta[1] and call('ZCARD', ready) > 0, bounded(meta[3], 0)
if open and meta[2] then open = call('ZCARD', lease) < bounded(meta[2], 0) end
local ripe = true
if open and rate > 0 then
  local gone = math.max(now - bounded(meta[5], now), 0)
  ripe = bounded(meta[4], 1) + gone * rate / 1000 >= 1
end
if open and ripe then
  call('ZADD', wake, 'NX', 0, '1')
elseif open and next(entering) and verb ~= 'cancel' then
  call('ZADD', wake, 1, '1')
else
  call('ZREMRANGEBYSCORE', wake, 0, 0)
end
return answers
