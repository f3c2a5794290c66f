-- Promise: settles runs that still own their job, each once, then claims up to n pending jobs in
--          order; a repeat with the same counter settles nothing twice and returns the same jobs.
-- KEYS: ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs
--       outbox
-- ARGV: tag, worker, counter, n, lease_ms, settles, plain settles, "1" if a settle has `then`
--       settles: "" or msgpack list of [id, fence, kind, task, run_ms, value, max_retries, final,
--       type, message, traceback, fingerprint]; kind "c" completed (value: result or nil; behind
--       it `then`, who waits for it), "f" failed (value: delay_ms), "s" snoozed (value: delay_ms),
--       "b" given back, "u" unknown task (value: grace_ms); plain settles: "" or msgpack list of
--       [task, then id, run_ms and result or false of each first run that completed and has neither
--       unique key nor log]
-- Returns: now_ms, ms until something is due (-1: nothing is), 1 to call again at once (2: after
--          park.lua), number of settles, [number of plain ones, then place and word of each that is
--          not completed], a word for each settle: the state it led to or "stale"; then id, fence,
--          attempt, record of each claimed job; error QKIND or QBODY: nothing was written

local call = redis.call
local ready, scheduled, retrying, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local meta_key, tasks_key, wake = KEYS[9], KEYS[11], KEYS[12]
local tag, worker, counter = ARGV[1], ARGV[2], tonumber(ARGV[3])
local want, lease_ms = math.min(tonumber(ARGV[4]), 500), tonumber(ARGV[5])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)

-- What is read here needs no other check: a key of another type refuses to be read.
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'reap_after', 'unpark', 'seq', 'seen', 'cron_at')
if ARGV[8] then call('HLEN', KEYS[14]) end
local running = call('ZCARD', lease)
local due = tonumber(call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2] or 1e15)
due = math.min(due, tonumber(call('ZRANGE', retrying, 0, 0, 'WITHSCORES')[2] or 1e15))
local names = { ready, KEYS[5], KEYS[6], KEYS[7], wake, KEYS[13], KEYS[8], KEYS[10], tasks_key,
  hour_key, minute_key }
local found, kind
for i = 1, 11 do
  found, kind = call('TYPE', names[i]).ok, i < 7 and 'zset' or 'hash'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local first_of_minute = found == 'none'
local readable, settles = pcall(cmsgpack.unpack, ARGV[6] == '' and '\144' or ARGV[6])
local legible, groups = pcall(cmsgpack.unpack, ARGV[7] == '' and '\144' or ARGV[7])
if not readable or type(settles) ~= 'table' or #settles > 500 or not legible or #groups > 500 then
  return redis.error_reply('QBODY the settles of ' .. worker .. ' are not readable')
end

-- PERSIST is allowed when memory is full, and so is what follows it in this script.
call('PERSIST', meta_key)

-- What changes is summed by task and written once.
local strange, sheets, totals = { 0 }, {}, {}
local answers = { now, -1, 0, #settles, strange }
local function add(where, name, by) where[name] = (where[name] or 0) + by end
local function note(name, page) add(totals, name, 1) add(page.counts, name, 1) end
local function sheet(task)
  sheets[task] = sheets[task] or { moves = {}, counts = {}, wait = {}, run = {}, ok = 0, got = 0,
    tail = ' ' .. task .. ' ' .. worker }
  return sheets[task]
end
local function bucket(ms)
  return math.floor(math.log(1 + 10 * (ms > 0 and ms < 1e12 and ms or 0)) / 0.22314355131421)
end
-- With: bounded

-- A set is left and the next one entered together, and last; a refused entry leaves nothing.
local READY, RETRYING, COMPLETED, CANCELLED, DEAD = 1, 2, 3, 4, 5
local words = { 'pending', 'retrying', 'completed', 'cancelled', 'dead' }
local sets = { ready, retrying, KEYS[5], KEYS[6], KEYS[7] }
local leaving, entering = {}, { {}, {}, {}, {}, {} }
local function move(id, to, score, task, from)
  local target, moves = entering[to], sheet(task).moves
  if to == RETRYING then due = math.min(due, score) end
  leaving[#leaving + 1] = id
  target[#target + 1], target[#target + 2] = score, id
  add(moves, words[to], 1) add(moves, from, -1)
end
local function apply(from)
  if #leaving == 0 then return end
  for i = 1, 5 do
    if #entering[i] > 0 then call('ZADD', sets[i], unpack(entering[i])) end
  end
  call('ZREM', from, unpack(leaving))
  leaving, entering = {}, { {}, {}, {}, {}, {} }
end

-- A run is one text: fence, attempt, started, lease, place in `ready`, task and worker. The end of a
-- lease carries a low fence as its fraction, so that a plain job is settled without reading the run.
local marks = { '.125', '.25', '.375', '.5', '.625', '.75' }
local function read_run(text)
  local fence, attempt, started, _, score =
    string.match(text or '', '^(%d+) (%-?%d+) (%d+) (%d+) (%S+) ')
  return bounded(fence, -1), bounded(attempt), bounded(started, now), bounded(score)
end

local function give(id, fence, attempt, packed)
  local at = #answers
  answers[at + 1], answers[at + 2], answers[at + 3], answers[at + 4] = id, fence, attempt, packed
end

local function free_unique(id, digest, until_ms)
  local key, wait = tag .. 'unique:' .. digest, bounded(until_ms, 0)
  if call('MGET', key)[1] ~= id then return end
  call(unpack(wait > now and { 'PEXPIREAT', key, string.format('%.0f', wait) } or { 'DEL', key }))
end
-- With: clear_unless
local function short(text)
  return #text <= 300 and text or
    (string.gsub(string.sub(text, 1, 300), '[\192-\247][\128-\191]*$', ''))
end
local function bury(id, task, kind, message, trace, fingerprint)
  call('SET', tag .. 'err:' .. id, cmsgpack.pack({ kind, message, trace, fingerprint }))
  if call('HEXISTS', KEYS[8], fingerprint) == 0 and call('HLEN', KEYS[8]) >= 1000 then
    fingerprint, kind, message = 'other', 'other', 'more than 1,000 different errors'
  end
  call('HSETNX', KEYS[8], fingerprint, cmsgpack.pack({ task, kind, short(message), now }))
  clear_unless(tag .. 'errors:' .. fingerprint, 'zset')
  call('ZADD', tag .. 'errors:' .. fingerprint, now, id)
  call('HSET', tag .. 'r:' .. id, 'fp', fingerprint)
  note('dead', sheet(task))
end

local runs, ended, ids, done = tag .. 'r:', {}, {}, entering[COMPLETED]
local now_text, own, place = string.format('%.0f', now), #settles, 0
for i = 1, own do ids[i] = settles[i][1] end
for _, group in ipairs(groups) do for j = 2, #group, 3 do ids[#ids + 1] = group[j] end end
local scores = #ids > 0 and call('ZMSCORE', lease, unpack(ids))
for _, group in ipairs(groups) do
  local page = sheet(group[1])
  for j = 2, #group, 3 do
    local id, held = group[j], scores[own + place + 1]
    place = place + 1
    if held and string.sub(held, 14) == '.125' and not ended[id] then
      if group[j + 2] then call('SET', tag .. 'res:' .. id, group[j + 2]) end
      add(page.run, bucket(group[j + 1]), 1)
      done[#done + 1], done[#done + 2], leaving[#leaving + 1] = now_text, id, id
      ended[id], page.ok, running = true, page.ok + 1, running - 1
    else
      scores[#settles + 1] = held
      settles[#settles + 1] = { id, 1, 'c', group[1], group[j + 1], group[j + 2], place = place }
    end
  end
end
strange[1] = place
for i = 1, #settles do
  local s = settles[i]
  local id, fence, kind, task = s[1], s[2], s[3], s[4]
  local key, answer = runs .. id, 'stale'
  local fine, found = pcall(call, 'HMGET', key, 'run', 'settled', 'unique', 'logn', 'cancel',
    'base', 'unknown', 'state', 'op')
  local run = fine and found or {}
  local held = not ended[id] and scores[i] and read_run(run[1]) == fence
  if tonumber(run[2] or -1) == fence then
    answer = run[8] or 'completed'
  elseif not held then
    local over = read_run(run[1]) == fence and (ended[id] or call('ZSCORE', KEYS[5], id))
    answer = over and 'completed' or answer
    if not over then add(totals, 'stale', 1) end
  else
    local to, score, reason = DEAD, now, nil
    local page = sheet(task)
    if kind == 'c' then
      to, page.ok = COMPLETED, page.ok + 1
      if s[6] then call('SET', tag .. 'res:' .. id, s[6]) end
      add(page.run, bucket(s[5]), 1)
      call('HSET', key, 'state', 'completed', 'settled', fence)
      if s[7] then call('HSET', KEYS[14], id, s[7]) end
    else
      local _, attempt, began, place = read_run(run[1])
      if kind ~= 'f' then
        attempt = attempt - 1
        call('HSET', key, 'run', (string.gsub(run[1], '^(%d+) %-?%d+', '%1 ' .. attempt)))
      end
      if kind ~= 'u' and run[7] then call('HDEL', key, 'unknown') end
      if kind == 'f' then
        note('failed', page) add(page.run, bucket(s[5]), 1)
        add(totals, 'error:' .. (call('HLEN', KEYS[10]) < 500 and task .. ' ' .. s[9] or ' ?'), 1)
      end
      if run[5] then
        to, reason = CANCELLED, 'cancelled while running'
      elseif kind == 'f' then
        if s[8] or attempt - bounded(run[6], 0) > bounded(s[7], 0) then
          bury(id, task, s[9], s[10], s[11], s[12])
          reason = s[8] and s[8] ~= '' and s[8] or 'no runs left'
        else
          to, score = RETRYING, now + math.max(bounded(s[6], 0), 0)
          call('SET', tag .. 'err:' .. id, cmsgpack.pack({ s[9], s[10], s[11], s[12] }))
          note('retried', page)
        end
      elseif kind == 's' then
        to, score = RETRYING, now + math.max(bounded(s[6], 0), 0)
      elseif kind == 'b' then
        to, score = READY, place or 5 * 4398046511104 + bounded(meta[9], 0)
      else
        local first, times = string.match(run[7] or '', '^(%d+) (%d+)$')
        first, times = bounded(first, now), bounded(times, 0)
        if now - first >= bounded(s[6], 0) then
          bury(id, task, s[9], s[10], s[11], s[12]) reason = s[10]
        else
          to, score = RETRYING, now + math.min(2 ^ times, 60) * 1000
          call('HSET', key, 'unknown', string.format('%.0f %d', first, times + 1))
        end
      end
      if kind == 'f' then
        clear_unless(tag .. 'at:' .. id, 'list')
        call('RPUSH', tag .. 'at:' .. id, cmsgpack.pack({ attempt, began, now, worker, words[to],
          short(s[9] .. ': ' .. s[10]) }))
        if attempt > 20 then call('LTRIM', tag .. 'at:' .. id, -20, -1) end
      end
      call('HSET', key, 'state', words[to], 'settled', fence)
      if to == CANCELLED then add(totals, 'cancelled', 1) end
      if reason then call('HSET', key, 'finished', now, 'reason', reason) end
    end
    answer, ended[id] = words[to], true
    local op = run[9] and tag .. 'op:' .. run[9]
    if op and call('TYPE', op).ok == 'hash' then call('HINCRBY', op, kind .. words[to], 1) end
    if to >= COMPLETED then
      if run[3] then free_unique(id, run[3], call('HGET', key, 'unique_until')) end
      -- Logs of finished jobs count against the queue's budget; a completed one keeps its last 200.
      if run[4] then call('ZADD', KEYS[13], now, id) end
      if to == COMPLETED and bounded(run[4], 0) > 200 then
        local bytes = bounded(call('HGET', key, 'logb'), 0)
        local kept = math.floor(bytes * 200 / tonumber(run[4]))
        pcall(call, 'XTRIM', tag .. 'log:' .. id, 'MAXLEN', 200)
        call('HSET', key, 'logn', 200, 'logb', kept)
        call('HINCRBY', meta_key, 'log_bytes', kept - bytes)
      end
    end
    if to ~= COMPLETED then move(id, to, score, task, 'running')
    else done[#done + 1], done[#done + 2], leaving[#leaving + 1] = now_text, id, id end
    running = running - 1
  end
  if not s.place then answers[5 + i] = answer
  elseif answer ~= 'completed' then
    strange[#strange + 1], strange[#strange + 2] = s.place, answer
  end
end
apply(lease)
-- A repeat of the last claim returns what is still its own and claims nothing new; an older one,
-- which nobody waits for any more, claims nothing.
local again, seen, after = false, bounded(meta[10], 0), bounded(meta[7], 0)
if running > 0 and after <= now and (seen < now - lease_ms / 2 or seen > now) then
  -- Nobody reached the server for half a lease: others get a whole one to renew theirs.
  after = now + lease_ms
  call('HSET', meta_key, 'reap_after', string.format('%.0f', after))
end
local last_key = tag .. 'last:' .. worker
local fine, list = pcall(cmsgpack.unpack, want > 0 and call('MGET', last_key)[1] or '')
if fine and type(list) == 'table' and type(list[1]) == 'number' then
  again = list[1] >= counter
  for i = 2, list[1] == counter and #list or 0, 2 do
    local id, fence = list[i], list[i + 1]
    local clean, run = pcall(call, 'HMGET', runs .. id, 'run', 'base')
    local packed = call('MGET', tag .. 'j:' .. id)[1]
    local of, attempt = read_run(clean and run[1] or '')
    if packed and of == fence and call('ZSCORE', lease, id) then
      give(id, fence, attempt - bounded(run[2], 0), packed)
    end
  end
end

local tokens, rate = nil, bounded(meta[3], 0)
if rate > 0 then
  local burst, gone = math.max(rate, 1), math.max(now - bounded(meta[5], now), 0)
  tokens = math.min(burst, bounded(meta[4], burst) + gone * rate / 1000)
end
if again or meta[1] then want = 0 end
if meta[2] then want = math.min(want, bounded(meta[2], 0) - running) end
if tokens then want = math.min(want, math.floor(tokens)) end

-- With: record
local paused = {}
for task in string.gmatch(meta[6] or '', '[^\n]+') do paused[task] = true end
local taken, leases, started, held, got, rank, bytes, crowded = { counter }, {}, {}, {}, 0, 0, 0
local most, until_ms = math.max(want, 200), string.format('%.0f', now + lease_ms)
local since = string.format(' %.0f %.0f ', now, lease_ms)
local first_claim = '1 1' .. since
local function start(id, key, score, page, head, fence, attempt, mark, packed)
  got, page.got = got + 1, page.got + 1
  call('HSET', key, 'run', head .. score .. page.tail)
  leases[2 * got - 1], leases[2 * got], started[got] = until_ms .. mark, id, id
  taken[2 * got], taken[2 * got + 1] = id, fence
  give(id, fence, attempt, packed)
end
local function weigh(id, score, packed, key, ran)
  local fine, body, record = pcall(read, packed)
  if not fine then body = nil end
  local clean, run, attempt, fence, base = true, {}, 0, 0, 0
  if ran then
    clean, run = pcall(call, 'HMGET', key, 'run', 'base', 'unknown', 'task', 'state', 'op', 'past')
    if clean and run[1] then fence, attempt = read_run(run[1]) end
    base = clean and bounded(run[2] or 0)
  end
  local task = body and body[1] or clean and run[4] or '?'
  local limit = body and (body[6] > 0 and record[1] + body[6] or body[7]) or 0
  local fit, limit_key = body and attempt and base, body and body[13] and body[13][4] or ''
  if fit and paused[task] and not run[7] then
    held[#held + 1] = { tag .. 'held:' .. task, score, id }
  elseif not fit or limit > 0 and limit <= now and not run[2] and (fence == 0 or run[3]) then
    -- A job that ran, or that an operator sent again, was started in time.
    local reason = fit and 'expired' or not packed and 'the record is missing'
      or not body and 'the record is not readable' or 'the run record is not readable'
    local to = fit and CANCELLED or DEAD
    if not clean then call('DEL', key) end
    if body and body[10] ~= '' then free_unique(id, body[10], record[1] + body[11]) end
    if fit then add(totals, 'cancelled', 1)
    else bury(id, task, 'Unreadable', reason, '', 'unreadable') end
    call('HSET', key, 'state', words[to], 'finished', now, 'reason', reason, 'task', task)
    move(id, to, now, task, 'pending')
  elseif limit_key ~= ''
    and select(2, pcall(call, 'SISMEMBER', tag .. 'key:' .. limit_key, id)) ~= 1 then
    crowded = true
  else
    local page = sheet(task)
    fence, attempt = fence + 1, attempt + 1
    local head = attempt == 1 and fence == 1 and first_claim or fence .. ' ' .. attempt .. since
    if body[10] ~= '' then
      call('HSET', key, 'unique', body[10], 'unique_until', record[1] + body[11])
    end
    if run[5] then call('HDEL', key, 'state', 'progress', 'message', 'finished', 'reason', 'past') end
    if fence > 1 then call('HSET', key, 'state', 'running')
    else add(page.wait, bucket(now - math.max(record[1], record[2])), 1) end
    local mark = not run[6] and marks[fence] or ''
    start(id, key, score, page, head, fence, attempt - base, mark, packed)
  end
end
-- Bodies are read in small steps, since one may hold 1 MiB.
while got < want and rank < most and bytes < 4194304 do
  local found = call('ZRANGE', ready, rank, rank + math.min(want - got, 25) - 1, 'WITHSCORES')
  if #found == 0 then break end
  local paths, owns = {}, {}
  for i = 1, #found / 2 do
    paths[i], owns[i] = tag .. 'j:' .. found[2 * i - 1], runs .. found[2 * i - 1]
  end
  rank = rank + #paths
  local bodies = call('MGET', unpack(paths))
  local ran = call('EXISTS', unpack(owns)) > 0
  for i = 1, #paths do
    local id, score, packed, key = found[2 * i - 1], found[2 * i], bodies[i], owns[i]
    local plain, born = glance(ran and '' or packed or '')
    bytes = bytes + #(packed or '')
    if plain and not paused[plain] then
      local page = sheet(plain)
      add(page.wait, bucket(now - born), 1)
      start(id, key, score, page, first_claim, 1, 1, '.125', packed)
    else weigh(id, score, packed, key, ran) end
  end
end
if got > 0 then call('SET', last_key, cmsgpack.pack(taken), 'PX', 60000) end
answers[3] = (crowded or held[99]) and 2 or got < want and (rank >= most or bytes > 4e6) and 1 or 0
tokens = tokens and tokens - got
call('HSET', meta_key, 'seen', now, unpack(tokens and { 'tokens', tokens, 'tokens_at', now } or {}))
if #held > 0 then call('HINCRBY', meta_key, 'held', #held) end
local fields, places = {}, {}
for task, page in pairs(sheets) do
  local ok, begun, moves = page.ok, page.got, page.moves
  moves.completed, moves.pending = ok, (moves.pending or 0) - begun
  moves.running = (moves.running or 0) + begun - ok
  page.counts.ok, page.counts.started = ok > 0 and ok or nil, begun > 0 and begun or nil
  if ok > 0 then add(totals, 'completed', ok) end
  for word, by in pairs(moves) do add(places, word .. ':' .. task, by) end
  local index = bounded(call('HGET', tasks_key, 'index:' .. task), 41)
  local shown = ':' .. (index > 40 and 'other' or task)
  for name, by in pairs(page.counts) do add(fields, name, by) add(fields, name .. shown, by) end
  for number, by in pairs(page.wait) do add(fields, 'wait:' .. number .. shown, by) end
  for number, by in pairs(page.run) do add(fields, 'run:' .. number .. shown, by) end
end
local function count(key, sums)
  for field, by in pairs(sums) do if by ~= 0 then call('HINCRBY', key, field, by) end end
end
count(tasks_key, places) count(KEYS[10], totals) count(minute_key, fields) count(hour_key, fields)
if first_of_minute then call('EXPIRE', minute_key, 10800) call('EXPIRE', hour_key, 3456000) end
apply(ready)
for i = 1, #held do
  clear_unless(held[i][1], 'zset')
  call('ZADD', held[i][1], held[i][2], held[i][3])
  call('ZREM', ready, held[i][3])
end
if got > 0 then
  call('ZADD', lease, unpack(leases))
  local whole = got == rank and { 'ZREMRANGEBYRANK', ready, 0, got - 1 }
  call(unpack(whole or { 'ZREM', ready, unpack(started) }))
end

-- The marker stands exactly if a job could be started now. Who called knows what is due next.
running = running + got
local waiting = call('ZCARD', ready)
local open = not meta[1] and waiting > 0 and (not meta[2] or running < bounded(meta[2], 0))
  and (not tokens or tokens >= 1)
if open then call('ZADD', wake, 0, '1') else call('DEL', wake) end

-- While leases live, somebody has to be seen in each half of one (see tend.lua).
local first = running > 0 and tonumber(call('ZRANGE', lease, 0, 0, 'WITHSCORES')[2])
if first then due = math.min(due, math.max(math.floor(first), after) + 1, now + 0.4 * lease_ms) end
local ripe = tokens and tokens < 1 and waiting > 0 and now + (1 - tokens) * 1000 / rate or 1e15
due = math.min(due, ripe, meta[8] and now or 1e15, bounded(meta[11], 1e15))
if due < 1e15 then answers[2] = math.max(math.ceil(due - now), 0) end
return answers
