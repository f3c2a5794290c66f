-- Promise: makes due jobs pending in the order of their due times, returns jobs whose lease has
--          ended, and takes jobs of resumed tasks out of hold; at most `max` of each. Of named jobs
--          those whose lease has ended return at once, on record, and no others.
-- KEYS: ready scheduled retrying lease cancelled dead errors meta totals tasks wake logs audit
-- ARGV: tag, lease_ms of the caller, max, retries of a job that names none, and where an operator
--       names jobs: actor, whose they were in words, then the ids
-- Returns: ms until something is due (-1: nothing is), promoted, returned, then the ids of the
--          returned jobs; error QKIND, and then nothing was written

local call = redis.call
local ready, scheduled, retrying, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local cancelled, dead, meta_key, tasks_key, wake = KEYS[5], KEYS[6], KEYS[8], KEYS[10], KEYS[11]
local tag, lease_ms, max, retries = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)

local names, kinds = { unpack(KEYS) }, { [13] = 'stream' }
names[14], names[15] = minute_key, hour_key
for _, i in ipairs({ 7, 8, 9, 10, 14, 15 }) do kinds[i] = 'hash' end
for i = 1, 15 do
  local found, kind = call('TYPE', names[i]).ok, kinds[i] or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at', 'seen',
  'reap_after', 'unpark', 'seq', 'held', 'cron_at')
call('PERSIST', meta_key)

-- With: bounded
-- Everything in a record that is used here is checked here.
local function decode(packed)
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[10]) ~= 'string' then return end
  for _, number in ipairs({ record[1] or '', body[3] or '', body[6] or '', body[7] or '',
    body[8] or '', body[11] or '' }) do
    if type(number) ~= 'number' or not bounded(number) then return end
  end
  return body, record
end
local function read_run(id)
  local fine, run = pcall(call, 'HMGET', tag .. 'r:' .. id, 'run', 'base', 'crashes', 'cancel',
    'logn', 'task', 'op')
  if not fine then return {} end
  run.known = run[1]
  run.fence, run.attempt, run.started, run.lease, run.place, run.task, run.worker =
    string.match(run[1] or '', '^(%d+) (%-?%d+) (%d+) (%d+) (%S+) (%S+) (.*)$')
  run.task = run.task or run[6]
  return run
end
-- With: clear_unless
local moves, stats, totals = {}, {}, {}
local function count(where, name, by) where[name] = (where[name] or 0) + by end
local shown = {}
local function stat(name, task)
  if not shown[task] then
    local index = bounded(call('HGET', tasks_key, 'index:' .. task), 41)
    shown[task] = index > 40 and 'other' or task
  end
  count(stats, name, 1)
  count(stats, name .. ':' .. shown[task], 1)
end
local function finish(id, task, state, reason, body, record, run)
  local key, unique = tag .. 'r:' .. id, body and body[10] ~= '' and tag .. 'unique:' .. body[10]
  clear_unless(key, 'hash')
  call('HSET', key, 'state', state, 'finished', now, 'reason', reason, 'task', task)
  count(totals, state, 1)
  if run[5] then call('ZADD', KEYS[12], now, id) end
  if unique and call('MGET', unique)[1] == id then
    local until_ms = record[1] + body[11]
    if until_ms > now then
      call('PEXPIREAT', unique, string.format('%.0f', until_ms))
    else
      call('DEL', unique)
    end
  end
end
local function bury(id, task, kind, message, fingerprint, body, record, run)
  finish(id, task, 'dead', message, body, record, run)
  call('SET', tag .. 'err:' .. id, cmsgpack.pack({ kind, message, '', fingerprint }))
  call('HSETNX', KEYS[7], fingerprint, cmsgpack.pack({ task, kind, message, now }))
  clear_unless(tag .. 'errors:' .. fingerprint, 'zset')
  call('ZADD', tag .. 'errors:' .. fingerprint, now, id)
  call('HSET', tag .. 'r:' .. id, 'fp', fingerprint)
  stat('dead', task)
end

-- Sets are entered and left last, one right after the other.
local entering, leaving = {}, {}
local function plan(id, from, to, score)
  local target, source = entering[to] or {}, leaving[from] or {}
  entering[to], leaving[from] = target, source
  target[#target + 1] = score
  target[#target + 1] = id
  source[#source + 1] = id
end
-- Bodies are read in small steps, since one may hold 1 MiB.
local bytes = 0
local function read_bodies(ids, from)
  local keys = {}
  for i = from, math.min(from + 24, #ids) do keys[#keys + 1] = tag .. 'j:' .. ids[i] end
  local bodies = call('MGET', unpack(keys))
  for i = 1, #keys do bytes = bytes + #(bodies[i] or '') end
  return bodies
end

-- Due jobs, by due time over both sets.
local due, ids = {}, {}
for _, from in ipairs({ scheduled, retrying }) do
  local list = call('ZRANGEBYSCORE', from, '-inf', now, 'WITHSCORES', 'LIMIT', 0, max)
  for i = 1, #list, 2 do due[#due + 1] = { list[i], tonumber(list[i + 1]), from } end
end
table.sort(due, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
for i = 1, #due do ids[i] = due[i][1] end
local seq, promoted, bodies = bounded(meta[9], 0), 0, nil
for i = 1, math.min(#due, max) do
  if i % 25 == 1 then
    if bytes >= 4194304 then break end
    bodies = read_bodies(ids, i)
  end
  local id, _, from = unpack(due[i])
  local body, record = decode(bodies[(i - 1) % 25 + 1])
  local run = (from == retrying or not body) and read_run(id) or {}
  local task = body and body[1] or run.task or '?'
  local limit = body and (body[6] > 0 and record[1] + body[6] or body[7])
  if not body then
    bury(id, task, 'Unreadable', 'the record is not readable', 'unreadable', nil, nil, run)
    plan(id, from, dead, now)
    count(moves, 'dead:' .. task, 1)
  elseif from == scheduled and limit > 0 and limit <= now then
    finish(id, task, 'cancelled', 'expired', body, record, run)
    plan(id, from, cancelled, now)
    count(moves, 'cancelled:' .. task, 1)
  else
    seq = seq + 1
    if run.known then call('HSET', tag .. 'r:' .. id, 'state', 'pending', 'since', now) end
    plan(id, from, ready, (9 - body[3]) * 4398046511104 + seq)
    count(moves, 'pending:' .. task, 1)
  end
  count(moves, (from == scheduled and 'scheduled:' or 'retrying:') .. task, -1)
  promoted = promoted + 1
end
if promoted > 0 then call('HSET', meta_key, 'seq', string.format('%.0f', seq)) end

-- Leases. After an outage nobody was seen for half a lease: then nothing is taken for a whole one.
local running, returned = call('ZCARD', lease), {}
local seen, after = bounded(meta[6], 0), bounded(meta[7], 0)
if after - now > lease_ms then after = 0 end
if running > 0 and not ARGV[5] and (seen < now - lease_ms / 2 or seen > now) then
  if after <= now then after = now + lease_ms end
  call('HSET', meta_key, 'reap_after', string.format('%.0f', after))
elseif running > 0 and (ARGV[5] or now >= after) then
  -- A lease further away than two was given before the clock was set back.
  local far = call('ZREVRANGE', lease, 0, 0, 'WITHSCORES')
  for step = 1, max do
    local own, ends = bounded(read_run(far[1]).lease, 0), tonumber(far[2])
    if own <= 0 then own = lease_ms end
    if ends < now + 2 * own + 1 then break end
    call('ZADD', lease, string.format('%.3f', now + own + ends % 1), far[1])
    far = call('ZREVRANGE', lease, 0, 0, 'WITHSCORES')
  end
  local ended = not ARGV[5] and call('ZRANGEBYSCORE', lease, '-inf', '(' .. (now + 1), 'LIMIT', 0, max) or {}
  for i = 7, #ARGV do
    local ends = call('ZSCORE', lease, ARGV[i])
    if ends and tonumber(ends) <= now then ended[#ended + 1] = ARGV[i] end
  end
  for i = 1, #ended do
    if i % 25 == 1 then
      if bytes >= 4194304 then break end
      bodies = read_bodies(ended, i)
    end
    local id = ended[i]
    local key, run = tag .. 'r:' .. id, read_run(id)
    local body, record = decode(bodies[(i - 1) % 25 + 1])
    local task = body and body[1] or run.task or '?'
    local to, score, word = dead, now, 'dead'
    local attempt, crashes = bounded(run.attempt), bounded(run[3], 0) + 1
    local lost = 'worker ' .. (run.worker or '?') .. ' vanished'
    if not body or not attempt then
      local reason = body and 'the run record is not readable' or 'the record is not readable'
      bury(id, task, 'Unreadable', reason, 'unreadable', body, record, run)
    else
      local limit = body[8] >= 0 and body[8] or retries
      local group = redis.sha1hex('lost:' .. task):sub(1, 16)
      if run[4] then
        to, word = cancelled, 'cancelled'
        finish(id, task, 'cancelled', 'cancelled while running', body, record, run)
      elseif crashes >= 3 then
        bury(id, task, 'WorkerLost', 'poison: ' .. crashes .. ' workers vanished while running it',
          group, body, record, run)
      elseif attempt - bounded(run[2], 0) > limit then
        bury(id, task, 'WorkerLost', lost .. ' and no runs are left', group, body, record, run)
      else
        to, word = ready, 'pending'
        score = bounded(run.place, (9 - body[3]) * 4398046511104 + seq)
      end
      call('HSET', key, 'crashes', crashes, 'state', word)
      local entry = cmsgpack.pack({ attempt, bounded(run.started, now), now, run.worker or '',
        'lost', lost })
      local list = tag .. 'at:' .. id
      if not pcall(call, 'RPUSH', list, entry) then
        call('DEL', list)
        call('RPUSH', list, entry)
      end
      if attempt > 20 then call('LTRIM', list, -20, -1) end
      stat('crashed', task)
      count(totals, 'crashed', 1)
      count(totals, 'error:' .. task .. ' WorkerLost', 1)
    end
    -- A bulk operation that sent the job knows what became of it.
    local op = run[7] and tag .. 'op:' .. run[7]
    if op and call('TYPE', op).ok == 'hash' then call('HINCRBY', op, 'l' .. word, 1) end
    plan(id, lease, to, score)
    returned[#returned + 1] = id
    count(moves, word .. ':' .. task, 1)
    count(moves, 'running:' .. task, -1)
  end
end
if ARGV[5] and #returned > 0 then
  call('XADD', KEYS[13], 'MAXLEN', '~', 10000, '*', 'actor', ARGV[5], 'verb', 'recover', 'target',
    ARGV[6], 'count', #returned, 'outcome', 'returned')
end
call('HSET', meta_key, 'seen', now)

-- Jobs of resumed tasks, in steps.
local left, room, held = {}, max, bounded(meta[10], 0)
for task in string.gmatch(meta[8] or '', '[^\n]+') do
  local from = tag .. 'held:' .. task
  clear_unless(from, 'zset')
  local list = room > 0 and call('ZRANGE', from, 0, room - 1, 'WITHSCORES') or {}
  for i = 1, #list, 2 do plan(list[i], from, ready, list[i + 1]) end
  room, held = room - #list / 2, held - #list / 2
  if call('ZCARD', from) > #list / 2 then left[#left + 1] = task end
end
if meta[8] then
  call('HSET', meta_key, 'held', math.max(held, 0))
  if #left > 0 then
    call('HSET', meta_key, 'unpark', table.concat(left, '\n'))
  else
    call('HDEL', meta_key, 'unpark')
  end
end

for field, by in pairs(moves) do
  if by ~= 0 then call('HINCRBY', tasks_key, field, by) end
end
for field, by in pairs(totals) do call('HINCRBY', KEYS[9], field, by) end
if next(stats) then
  for field, by in pairs(stats) do
    call('HINCRBY', minute_key, field, by)
    call('HINCRBY', hour_key, field, by)
  end
  call('EXPIRE', minute_key, 10800)
  call('EXPIRE', hour_key, 3456000)
end
for to, list in pairs(entering) do call('ZADD', to, unpack(list)) end
for from, list in pairs(leaving) do call('ZREM', from, unpack(list)) end

-- The marker stands exactly if a job could be started now. Who called knows what is due next.
running = call('ZCARD', lease)
local rate, tokens = bounded(meta[3], 0), 1
local waiting = call('ZCARD', ready)
local open = not meta[1] and waiting > 0
if open and meta[2] then open = running < bounded(meta[2], 0) end
if rate > 0 then
  tokens = bounded(meta[4], 1) + math.max(now - bounded(meta[5], now), 0) * rate / 1000
end
if open and tokens >= 1 then call('ZADD', wake, 0, '1') else call('DEL', wake) end

local next_ms = -1
local function sooner(at)
  local ms = math.max(math.ceil(at - now), 0)
  if next_ms < 0 or ms < next_ms then next_ms = ms end
end
for _, from in ipairs({ scheduled, retrying }) do
  local first = call('ZRANGE', from, 0, 0, 'WITHSCORES')[2]
  if first then sooner(tonumber(first)) end
end
if running > 0 then
  local first = call('ZRANGE', lease, 0, 0, 'WITHSCORES')[2]
  sooner(math.max(math.floor(tonumber(first)), after) + 1)
  -- While leases live, somebody has to be seen in each half of one.
  sooner(now + 0.4 * lease_ms)
end
if #left > 0 then sooner(now) end
if meta[11] then sooner(bounded(meta[11], now)) end
if waiting > 0 and tokens < 1 then sooner(now + (1 - tokens) * 1000 / rate) end
local answer = { next_ms, promoted, #returned }
for i = 1, #returned do answer[3 + i] = returned[i] end
return answer
