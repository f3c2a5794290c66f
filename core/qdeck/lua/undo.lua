-- Promise: takes back what an ended bulk operation did to its jobs, at most `max` a step and each
--          once; a job that something has touched since is left as it is, and counted.
-- KEYS: ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs
--       audit
-- ARGV: tag, operation, actor, max, id of the audit entry that this takes back ("": none), and for
--       jobs that had gone to another queue the ids of those that were fetched from there
-- Returns: state (undoing, undone, stopped; any other: it cannot be taken back), jobs taken back,
--          left alone, and still to look at; error QKIND, and then nothing was written

local call = redis.call
local ready, lease, meta_key, tasks_key, wake = KEYS[1], KEYS[4], KEYS[9], KEYS[11], KEYS[12]
local tag, operation, actor, max = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local op_key = tag .. 'op:' .. operation
local copy = op_key .. ':copy'
local names = { unpack(KEYS) }
local kinds = { [8] = 'hash', [9] = 'hash', [10] = 'hash', [11] = 'hash', [14] = 'stream',
  [15] = 'hash', [16] = 'hash' }
names[15], names[16] = op_key, copy
for i = 1, #names do
  local found, kind = call('TYPE', names[i]).ok, kinds[i] or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
-- With: bounded
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark')
local paused = {}
for task in string.gmatch((meta[6] or '') .. '\n' .. (meta[7] or ''), '[^\n]+') do
  paused[task] = true
end
local op = call('HMGET', op_key, 'state', 'verb', 'undone', 'left', 'undo_of', 'then')
local verb, undone, left = op[2], bounded(op[3], 0), bounded(op[4], 0)
if op[1] ~= 'undoing' then
  local ended = op[1] == 'done' or op[1] == 'stopped' or op[1] == 'aborted'
  if not ended or call('EXISTS', copy) == 0 then return { op[1] or 'gone', 0, 0, 0 } end
end
local fetched, entries = verb == 'move_queue', {}
if fetched then
  for i = 6, #ARGV do
    local kept = call('HGET', copy, ARGV[i])
    if kept then entries[#entries + 1], entries[#entries + 2] = ARGV[i], kept end
  end
else
  entries = call('HSCAN', copy, 0, 'COUNT', max)[2]
end
if not fetched and #entries == 0 and call('EXISTS', copy) == 1 then
  -- The first buckets of a table that shrinks may be empty.
  local found = { '0' }
  for _ = 1, 10 do
    found = call('HSCAN', copy, found[1], 'COUNT', max)
    entries = found[2]
    if #entries > 0 or found[1] == '0' then break end
  end
end

-- With: clear_unless
-- With: body
local sets = { pending = ready, scheduled = KEYS[2], retrying = KEYS[3], completed = KEYS[5],
  cancelled = KEYS[6], dead = KEYS[7] }
local function within(state, id, task)
  if sets[state] and call('ZSCORE', sets[state], id) then return sets[state] end
  local held = tag .. 'held:' .. task
  local fine, score = pcall(call, 'ZSCORE', held, id)
  if state == 'pending' and fine and score then return held end
end
-- With: leave_group
-- The group goes with its last member; what it said of itself is in each member's error.
local function join_group(id, task, fingerprint, at)
  local known, said = pcall(cmsgpack.unpack, call('MGET', tag .. 'err:' .. id)[1] or '')
  said = known and type(said) == 'table' and said or {}
  call('HSETNX', KEYS[8], fingerprint,
    cmsgpack.pack({ task, tostring(said[1] or '?'), tostring(said[2] or ''), at }))
  clear_unless(tag .. 'errors:' .. fingerprint, 'zset')
  call('ZADD', tag .. 'errors:' .. fingerprint, at, id)
end

call('PERSIST', meta_key)
local after = { retry = 'pending', run_now = 'pending', cancel = 'cancelled', discard = 'dead' }
local places = { 'base', 'fp', 'reason', 'finished', 'crashes', 'unknown', 'since' }
local moves, held_change, seen = {}, 0, {}
local entering, leaving = {}, {}
local function count(field, by) moves[field] = (moves[field] or 0) + by end
-- Take one job back; false where something has touched it since.
local function take_back(id, parts)
  local state, score, packed, task, was = parts[1], tonumber(parts[2]), parts[3], parts[4], parts[5]
  local key, current = tag .. 'r:' .. id, call('MGET', tag .. 'j:' .. id)[1]
  local fine, run = pcall(call, 'HMGET', key, 'op', 'settled', 'fp', 'logn', 'state')
  if not fine or not current or not score or not sets[state] or type(was) ~= 'table' then
    return false
  end
  local body = decode(packed ~= '' and packed or current)
  if not body or call('ZSCORE', lease, id) then return false end
  if packed ~= '' and redis.sha1hex(current) ~= parts[6] then return false end
  local marked = run[1] == operation and (run[2] or '') == was[1]
  local came_to = after[verb] or marked and 'pending' or state
  local from = within(came_to, id, task)
  if not from or after[verb] and not marked then return false end
  if verb == 'move_in_time' and call('ZSCORE', from, id) ~= parts[7] then return false end
  local digest = body[10] ~= '' and tag .. 'unique:' .. body[10]
  local holder = digest and call('MGET', digest)[1]
  local finished = state == 'dead' or state == 'cancelled' or state == 'completed'
  if digest and not finished and (holder or id) ~= id then return false end
  local other = packed ~= '' and decode(current)
  if other and other[10] ~= body[10] and call('MGET', tag .. 'unique:' .. other[10])[1] == id then
    call('DEL', tag .. 'unique:' .. other[10])
  end
  if digest and finished and holder == id then call('DEL', digest) end
  if digest and not finished then call('SET', digest, id) end
  if packed ~= '' then call('SET', tag .. 'j:' .. id, packed) end
  if after[verb] or marked then
    if came_to == 'dead' then leave_group(id, run[3]) end
    call('HDEL', key, 'op', 'past', 'fp', 'reason', 'finished', 'cancel', unpack(places))
    call('HSET', key, 'state', state)
    for i, name in ipairs(places) do
      if was[i + 1] and was[i + 1] ~= '' then call('HSET', key, name, was[i + 1]) end
    end
    if state == 'dead' and was[3] ~= '' then join_group(id, task, was[3], score) end
    if finished and run[4] then call('ZADD', KEYS[13], score, id) end
    if not finished then call('ZREM', KEYS[13], id) end
  end
  local to = sets[state]
  if state == 'pending' and paused[task] then to = tag .. 'held:' .. task end
  if to == tag .. 'held:' .. task then
    clear_unless(to, 'zset')
    held_change = held_change + 1
  end
  if from == tag .. 'held:' .. task then held_change = held_change - 1 end
  count(came_to .. ':' .. task, -1)
  count(state .. ':' .. task, 1)
  entering[#entering + 1] = { to, parts[2], id }
  if to ~= from then leaving[#leaving + 1] = { from, id } end
  return true
end
-- Bring a deleted job back; false where its id, or its unique key, is another's by now.
local function bring_back(id, parts)
  local state, score, task, was = parts[1], tonumber(parts[2]), parts[4], parts[5]
  local key, aside = tag .. 'r:' .. id, op_key .. ':'
  local packed = call('MGET', aside .. 'j:' .. id)[1]
  if not score or not sets[state] or type(was) ~= 'table' or parts[8] == 1 and not packed
    or call('EXISTS', tag .. 'j:' .. id) == 1 then
    return false
  end
  local body = decode(packed)
  local digest = body and body[10] ~= '' and tag .. 'unique:' .. body[10]
  local finished = state == 'dead' or state == 'cancelled' or state == 'completed'
  if digest and not finished then
    if (call('MGET', digest)[1] or id) ~= id then return false end
    call('SET', digest, id)
  end
  for _, part in ipairs({ 'j:', 'r:', 'res:', 'err:', 'at:', 'log:', 'done:' }) do
    if call('EXISTS', aside .. part .. id) == 1 then
      call('RENAME', aside .. part .. id, tag .. part .. id)
      call('PERSIST', tag .. part .. id)
    end
  end
  local fine, run = pcall(call, 'HMGET', key, 'logb', 'logn')
  local own = fine and bounded(run[1] or 0, 0) or 0
  if own ~= 0 then call('HINCRBY', meta_key, 'log_bytes', own) end
  if finished and fine and run[2] then call('ZADD', KEYS[13], score, id) end
  if state == 'dead' and was[3] and was[3] ~= '' then join_group(id, task, was[3], score) end
  local to = sets[state]
  if state == 'pending' and paused[task] then
    to = tag .. 'held:' .. task
    clear_unless(to, 'zset')
    held_change = held_change + 1
  end
  count(state .. ':' .. task, 1)
  entering[#entering + 1] = { to, parts[2], id }
  return true
end
-- A job that came back from another queue takes the place that it had among those of its priority.
local function take_place(id, kept)
  local place = tonumber(string.match(kept, '^pending (%d+)$'))
  local set, score = ready, place and call('ZSCORE', ready, id)
  if place and not score then
    local body = decode(call('MGET', tag .. 'j:' .. id)[1])
    local fine, found = pcall(call, 'ZSCORE', tag .. 'held:' .. (body and body[1] or ''), id)
    if fine and found then set, score = tag .. 'held:' .. body[1], found end
  end
  if score and math.floor(score / 4398046511104) == math.floor(place / 4398046511104) then
    entering[#entering + 1] = { set, place, id }
  end
end
local back, taken, skipped = verb == 'delete' and bring_back or take_back, 0, 0
for i = 1, #entries, 2 do
  local fine, parts = pcall(cmsgpack.unpack, entries[i + 1])
  if fetched and call('EXISTS', tag .. 'j:' .. entries[i]) == 1
    or not fetched and fine and type(parts) == 'table' and back(entries[i], parts) then
    if fetched then take_place(entries[i], entries[i + 1]) end
    taken = taken + 1
  else
    skipped = skipped + 1
  end
  seen[#seen + 1] = entries[i]
end
if held_change ~= 0 then call('HINCRBY', meta_key, 'held', held_change) end
for field, by in pairs(moves) do
  if by ~= 0 then call('HINCRBY', tasks_key, field, by) end
end
if verb == 'cancel' and taken > 0 then call('HINCRBY', KEYS[10], 'cancelled', -taken) end
for _, each in ipairs(entering) do call('ZADD', unpack(each)) end
for _, each in ipairs(leaving) do call('ZREM', unpack(each)) end
if #seen > 0 then call('HDEL', copy, unpack(seen)) end
undone, left = undone + taken, left + skipped
local ahead = call('HLEN', copy)
op[1] = ahead > 0 and 'undoing' or op[6] or 'undone'
local of = ARGV[5] ~= '' and ARGV[5] or op[5] or ''
call('HSET', op_key, 'state', op[1], 'undone', undone, 'left', left, 'ender', actor, 'undo_of', of)
call('HDEL', op_key, 'undo_until')
if ahead == 0 and not op[6] then
  call('XADD', KEYS[14], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'undo', 'target',
    verb .. ' of ' .. undone + left .. ' jobs', 'count', undone, 'outcome',
    undone .. ' taken back, ' .. left .. ' left alone', 'of', of)
end

-- The marker stands exactly if a job could be started now, or until a worker looked.
local open = not meta[1] and call('ZCARD', ready) > 0
if open and meta[2] then open = call('ZCARD', lease) < bounded(meta[2], 0) end
if open or #entering > 0 then
  call('ZADD', wake, 1, '1')
else
  call('ZREMRANGEBYSCORE', wake, 0, 0)
end
return { op[1], undone, left, ahead }
