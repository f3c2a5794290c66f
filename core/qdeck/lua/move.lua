-- Promise: does an operator's verb to each named job whose state allows it, and says what became of
--          the others; as a step of a bulk operation it takes its ids from there, each once,
--          and no more than it was granted.
-- KEYS: ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs
--       audit
-- ARGV: tag, verb (cancel, run_now, retry, delete, discard, move_in_time, priority, patch), actor,
--       states allowed (joined by spaces), operation ("": none), max, then the ids (none for an
--       operation, but for one that patches: id, SHA-1 of the record that was read, and the new
--       record, "" where nothing changes, "!" where the task refuses it); with an operation that is
--       not on record the ids are done at once, and the copy for an undo is kept under its name
-- Returns: for each id the id, the state it was in ("": unknown), the word of the outcome (pending,
--          cancelled, requested, deleted, dead, moved, patched, finished, refused, unique,
--          unreadable) and its owner; for an operation only its state, total, done, ok, skipped;
--          error QKIND, and then nothing was written

local call = redis.call
local ready, lease, meta_key, tasks_key, wake = KEYS[1], KEYS[4], KEYS[9], KEYS[11], KEYS[12]
local tag, verb, actor, operation, max = ARGV[1], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local allowed = {}
for word in string.gmatch(ARGV[4], '%S+') do allowed[word] = true end

local op_key = tag .. 'op:' .. operation
local frozen, out, copy = op_key .. ':ids', op_key .. ':out', op_key .. ':copy'
local names = { unpack(KEYS) }
local kinds = { [8] = 'hash', [9] = 'hash', [10] = 'hash', [11] = 'hash', [14] = 'stream',
  [15] = 'hash', [18] = 'hash' }
if operation ~= '' then names[15], names[16], names[17], names[18] = op_key, frozen, out, copy end
for i = 1, #names do
  local found, kind = call('TYPE', names[i]).ok, kinds[i] or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
-- With: bounded
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark', 'seq')
local paused = {}
for task in string.gmatch((meta[6] or '') .. '\n' .. (meta[7] or ''), '[^\n]+') do
  paused[task] = true
end
local op, fields = {}, { 'state', 'total', 'done', 'ok', 'skipped', 'paced', 'grant', 'tokens',
  'stop', 'canary', 'canary_id', 'keep', 'arg', 'changes', 'starter' }
if operation ~= '' then
  for i, value in ipairs(call('HMGET', op_key, unpack(fields))) do op[fields[i]] = value or nil end
end
local function operation_now()
  return { op.state or 'gone', bounded(op.total, 0), bounded(op.done, 0), bounded(op.ok, 0),
    bounded(op.skipped, 0) }
end
local ids, records, stepping = {}, {}, operation ~= '' and (op.state or #ARGV < 7)
if stepping and op.state ~= 'running' then return operation_now() end
for i = 7, #ARGV, op.changes and 3 or 1 do
  local id = ARGV[i]
  local packed = op.changes and call('MGET', tag .. 'j:' .. id)[1]
  -- A record that was edited since it was read is read again before the next step.
  local same = not packed or redis.sha1hex(packed) == ARGV[i + 1]
  if not stepping or same and call('ZSCORE', frozen, id) then
    ids[#ids + 1], records[id] = id, op.changes and { ARGV[i + 1], ARGV[i + 2] } or {}
  end
end
if stepping and not op.changes then
  ids = call('ZRANGE', frozen, 0, max - 1)
  for _, id in ipairs(ids) do records[id] = {} end
end

-- With: clear_unless
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
local moves, totals, held_change, bytes, sooner = {}, {}, 0, 0, false
local entering, leaving = {}, {}
local function count(field, by) moves[field] = (moves[field] or 0) + by end
-- With: leave_group
local function join_group(id, task, fingerprint, kind, message, at)
  local group = tag .. 'errors:' .. fingerprint
  call('HSETNX', KEYS[8], fingerprint, cmsgpack.pack({ task, kind, message, at }))
  clear_unless(group, 'zset')
  call('ZADD', group, at, id)
end

call('PERSIST', meta_key)
local function finish()
  op.state = 'done'
  call('HSET', op_key, 'state', 'done', 'finished', now)
  call('UNLINK', frozen, out)
  call('EXPIRE', op_key, 604800)
  local said = bounded(op.ok, 0) .. ' changed, ' .. bounded(op.skipped, 0) .. ' skipped'
  local entry = { 'actor', op.starter or actor, 'verb', verb, 'target',
    stepping and (op.total or 0) .. ' jobs' or #ids == 1 and 'job ' .. ids[1] or #ids .. ' jobs',
    'count', bounded(op.ok, 0), 'outcome', said }
  if op.keep and call('EXISTS', copy) == 1 then
    local until_ms = string.format('%.0f', now + 86400000)
    call('HSET', op_key, 'undo_until', until_ms)
    call('EXPIRE', copy, 86400)
    for _, part in ipairs({ 'undo', cjson.encode({ ['do'] = 'operation', id = operation }),
      'until', until_ms }) do entry[#entry + 1] = part end
  end
  call('XADD', KEYS[14], 'MAXLEN', '~', 10000, '*', unpack(entry))
end
local limit = not stepping and #ids or op.paced and bounded(op.grant, 0) or max
local answers, taken, done, ok, known, shifted = {}, {}, 0, 0, {}, {}
local good = { pending = 1, cancelled = 1, requested = 1, deleted = 1, dead = 1, moved = 1,
  patched = 1 }
local seq = bounded(meta[8], 0)
local front, proving = op.canary == 'waiting' and not op.canary_id, bounded(op.stop, 0) > 0
for i = 1, #ids do
  if i > limit or stepping and bytes >= 4194304 then break end
  local id = ids[i]
  local key, packed = tag .. 'r:' .. id, call('MGET', tag .. 'j:' .. id)[1]
  bytes = bytes + #(packed or '')
  taken[i] = id
  local body, record = decode(packed)
  local fine, run = pcall(call, 'HMGET', key, 'run', 'state', 'logb', 'fp', 'logn', 'task')
  if not fine then
    call('DEL', key)
    run = {}
  end
  local attempt, ran, worker = string.match(run[1] or '', '^%d+ (%-?%d+) %d+ %d+ %S+ (%S+) (.*)$')
  local task = body and body[1] or run[6] or ran or '?'
  local state, from = locate(id, task, run[2] or run[1] and 'running' or 'pending')
  -- An id named twice was changed already: its move is planned, its set changes last.
  if known[id] then state, from = known[id], nil end
  local outcome, to, score = 'refused', nil, now
  local digest = body and body[10] ~= '' and tag .. 'unique:' .. body[10]
  local function holder() return digest and call('MGET', digest)[1] end
  local old = from and call('ZSCORE', from, id)
  local kept = false
  local function keep(new, place)
    if not op.keep and stepping or operation == '' then return end
    kept = true
    local was = call('HMGET', key, 'settled', 'base', 'fp', 'reason', 'finished', 'crashes',
      'unknown', 'since')
    for j = 1, 8 do was[j] = was[j] or '' end
    local parts = { state, old, new and packed or '', task, was, new and redis.sha1hex(new) or '',
      place or '', packed and 1 or 0 }
    call('HSET', copy, id, cmsgpack.pack(parts))
  end
  local fresh, change = body, records[id][2] or ''
  local able = from and allowed[state] and body
  if able and op.changes and #change > 1 then
    fresh = decode(change)
    local moved = fresh and fresh[10] ~= body[10] and fresh[10] ~= '' and holder() == id
    local key_of = moved and tag .. 'unique:' .. fresh[10]
    if not fresh or moved and (call('MGET', key_of)[1] or id) ~= id then
      able, change = nil, '!'
    elseif moved then
      call('DEL', digest)
      call('SET', key_of, id)
      digest = key_of
    end
  end
  local again = verb == 'retry' or front and (state == 'dead' or state == 'cancelled')
  if not from then
    if state == '' and packed and verb == 'delete' and not known[id] then outcome = 'deleted' end
  elseif verb == 'cancel' and not allowed[state] then
    outcome = 'finished'
  elseif not allowed[state] or change == '!' then
    outcome = 'refused'
  elseif verb == 'cancel' and state == 'running' then
    call('HSET', key, 'cancel', actor)
    outcome = 'requested'
  elseif verb == 'cancel' then
    keep()
    call('HSET', key, 'state', 'cancelled', 'finished', now, 'reason', 'cancelled by ' .. actor,
      'task', task, 'op', operation)
    if run[5] then call('ZADD', KEYS[13], now, id) end
    totals.cancelled = (totals.cancelled or 0) + 1
    outcome, to = 'cancelled', KEYS[6]
  elseif verb == 'delete' then
    keep()
    outcome = 'deleted'
  elseif not body then
    outcome = 'unreadable'
  elseif verb == 'discard' then
    keep()
    local said, group = 'discarded by ' .. actor, redis.sha1hex('discarded:' .. task):sub(1, 16)
    call('HSET', key, 'state', 'dead', 'finished', now, 'reason', said, 'task', task, 'fp', group,
      'op', operation)
    call('SET', tag .. 'err:' .. id, cmsgpack.pack({ 'Discarded', said, '', group }))
    join_group(id, task, group, 'Discarded', said, now)
    if run[5] then call('ZADD', KEYS[13], now, id) end
    totals.dead = (totals.dead or 0) + 1
    outcome, to = 'dead', KEYS[7]
  elseif verb == 'move_in_time' or verb == 'priority' then
    score = tonumber(old)
    if verb == 'priority' then
      body[3] = bounded(op.arg, body[3])
      if state == 'pending' then score = (9 - body[3]) * 4398046511104 + score % 4398046511104 end
    else
      local word, by = string.match(op.arg or '', '^(%S+) (%S+)$')
      score = math.max(word == 'by' and score + bounded(by, 0) or bounded(by, now), now)
      if state == 'scheduled' then record[2] = score end
    end
    local new = cmsgpack.pack(record)
    keep(new, string.format('%.0f', score))
    call('SET', tag .. 'j:' .. id, new)
    sooner = sooner or score < tonumber(old)
    shifted[from] = shifted[from] or {}
    shifted[from][#shifted[from] + 1], shifted[from][#shifted[from] + 2] = score, id
    outcome = 'moved'
  elseif again and (holder() or id) ~= id then
    outcome = 'unique'
  else
    keep(change ~= '' and change)
    if change ~= '' then
      call('SET', tag .. 'j:' .. id, change)
      call('HSET', key, 'was', body[2], 'edited', string.format('%.0f ', now) .. actor)
    end
    outcome = 'patched'
    if verb ~= 'patch' or front then
      seq = seq + 1
      outcome, score = 'pending', (9 - body[3]) * 4398046511104 + (proving and 0 or seq)
      to = paused[task] and not front and tag .. 'held:' .. task or ready
      if front then
        -- It runs next, and past a pause of its task.
        score, op.canary_id = 0, id
        call('HSET', op_key, 'canary_id', id, 'task', task)
        call('HSET', key, 'past', 1)
      elseif proving then
        call('ZADD', out, now, id)
      end
      if to ~= ready then
        clear_unless(to, 'zset')
        held_change = held_change + 1
      end
      if again then
        if digest then call('SET', digest, id) end
        leave_group(id, run[4])
        call('HDEL', key, 'fp', 'reason', 'finished', 'crashes', 'cancel', 'unknown')
        call('HSET', key, 'base', bounded(attempt or 0, 0))
        call('ZREM', KEYS[13], id)
      end
      local named = operation ~= ''
      if again or run[1] or named then call('HSET', key, 'state', 'pending', 'since', now) end
      if named then call('HSET', key, 'op', operation) else call('HDEL', key, 'op', 'past') end
      front = false
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
    for _, part in ipairs({ 'j:', 'r:', 'res:', 'err:', 'at:', 'log:', 'done:' }) do
      local name, aside = tag .. part .. id, op_key .. ':' .. part .. id
      if not kept then
        call('UNLINK', name)
      elseif call('EXISTS', name) == 1 then
        -- An hour longer than what an undo goes by, so that a long operation has it as well.
        call('RENAME', name, aside)
        call('EXPIRE', aside, 90000)
      end
    end
  end
  if from and (to and to ~= from or outcome == 'deleted') then
    if from ~= ready and state == 'pending' then held_change = held_change - 1 end
    count(state .. ':' .. task, -1)
    known[id] = outcome == 'deleted' and '' or outcome
  end
  if to and to == from then
    shifted[to] = { score, id }
  elseif to then
    count(outcome .. ':' .. task, 1)
    local target, source = entering[to] or {}, leaving[from] or {}
    entering[to], leaving[from] = target, source
    target[#target + 1], target[#target + 2], source[#source + 1] = score, id, id
  end
  done = done + 1
  if good[outcome] then ok = ok + 1 end
  answers[#answers + 1] = id
  answers[#answers + 1] = state
  answers[#answers + 1] = outcome
  answers[#answers + 1] = outcome == 'requested' and worker or ''
end
call('HSET', meta_key, 'seq', string.format('%.0f', seq))
if held_change ~= 0 then call('HINCRBY', meta_key, 'held', held_change) end
for field, by in pairs(moves) do
  if by ~= 0 then call('HINCRBY', tasks_key, field, by) end
end
for field, by in pairs(totals) do call('HINCRBY', KEYS[10], field, by) end
for set, list in pairs(shifted) do call('ZADD', set, unpack(list)) end
for to, list in pairs(entering) do call('ZADD', to, unpack(list)) end
for from, list in pairs(leaving) do call('ZREM', from, unpack(list)) end
if stepping then
  if #taken > 0 then call('ZREM', frozen, unpack(taken)) end
  op.done, op.ok = bounded(op.done, 0) + done, bounded(op.ok, 0) + ok
  op.skipped = op.done - op.ok
  call('HSET', op_key, 'done', op.done, 'ok', op.ok, 'skipped', op.skipped)
  if op.paced then
    call('HSET', op_key, 'tokens', bounded(op.tokens, 0) - done, 'grant', limit - done)
  end
  if call('EXISTS', copy) == 1 then call('EXPIRE', copy, 86400) end
  if call('ZCARD', frozen) == 0 and (op.canary ~= 'waiting' or not op.canary_id) then
    finish()
  end
  answers = operation_now()
elseif ok > 0 then
  op = { ok = ok, skipped = done - ok, keep = 1 }
  if operation ~= '' then
    call('HSET', op_key, 'verb', verb, 'actor', actor, 'starter', actor, 'created', now, 'total',
      done, 'done', done, 'ok', ok, 'skipped', done - ok, 'keep', 1)
    finish()
    call('EXPIRE', op_key, 86400)
  end
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
elseif open and next(entering) and verb ~= 'cancel' or sooner then
  call('ZADD', wake, 1, '1')
else
  call('ZREMRANGEBYSCORE', wake, 0, 0)
end
return answers
