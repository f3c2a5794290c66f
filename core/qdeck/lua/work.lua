-- Promise: settles runs that still own their job, each once, then claims up to n pending jobs in
--          order; a repeat with the same counter settles nothing twice and returns the same jobs.
-- KEYS: ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs
-- ARGV: tag, worker, counter, n, lease_ms, settles
--       settles: "" or msgpack list of [id, fence, kind, task, run_ms, value, max_retries, final,
--       type, message, traceback, fingerprint]; kind "c" completed (value: result or nil), "f"
--       failed (value: delay_ms), "s" snoozed (value: delay_ms), "b" given back, "u" unknown task
--       (value: grace_ms)
-- Returns: now_ms, ms until something is due (-1: nothing is), 1 to call again at once, number of
--          settles, for each settle the state it led to or "stale", then id, fence, attempt and
--          record of each claimed job

local call = redis.call
local ready, scheduled, retrying, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local meta_key, tasks_key = KEYS[9], KEYS[11]
local tag, worker, counter = ARGV[1], ARGV[2], ARGV[3]
local want, lease_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)
local last_key = tag .. 'last:' .. worker

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
expect(minute_key, 'hash')
expect(hour_key, 'hash')

local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'reap_after', 'unpark')
local moves, stats, totals = {}, {}, {}
local function count(where, name, by) where[name] = (where[name] or 0) + by end
local shown = {}
local function stat_name(task)
  if not shown[task] then
    local index = call('HGET', tasks_key, 'index:' .. task)
    shown[task] = (not index or tonumber(index) > 40) and 'other' or task
  end
  return shown[task]
end
local function stat(name, task)
  count(stats, name, 1)
  count(stats, name .. ':' .. stat_name(task), 1)
end
local function timing(name, task, ms)
  local bucket = math.floor(math.log(1 + 10 * math.max(ms, 0)) / 0.22314355131421)
  count(stats, name .. ':' .. bucket .. ':' .. stat_name(task), 1)
end

-- PERSIST is allowed when memory is full, and so is what follows it in this script.
call('PERSIST', meta_key)

local answers = { now, -1, 0, 0 }
local leaving, entering = {}, { {}, {}, {}, {}, {} }
local READY, RETRYING, COMPLETED, CANCELLED, DEAD = 1, 2, 3, 4, 5
local words = { 'pending', 'retrying', 'completed', 'cancelled', 'dead' }
local function move(id, to, score, task, from)
  leaving[#leaving + 1] = id
  local target = entering[to]
  target[#target + 1] = score
  target[#target + 1] = id
  count(moves, words[to] .. ':' .. task, 1)
  count(moves, from .. ':' .. task, -1)
end
local function free_unique(id, digest, until_ms)
  local key = tag .. 'unique:' .. digest
  if call('GET', key) == id then
    if tonumber(until_ms or 0) > now then call('PEXPIREAT', key, until_ms) else call('DEL', key) end
  end
end
local function short(text)
  if #text <= 300 then return text end
  return (string.gsub(string.sub(text, 1, 300), '[\192-\247][\128-\191]*$', ''))
end
local function clear_unless(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then call('DEL', name) end
end
local function bury(id, task, kind, message, trace, fingerprint)
  call('SET', tag .. 'err:' .. id, cmsgpack.pack({ kind, message, trace, fingerprint }))
  local fine, group = pcall(cmsgpack.unpack, call('HGET', KEYS[8], fingerprint) or '')
  if not fine or type(group) ~= 'table' then
    if call('HLEN', KEYS[8]) >= 1000 then
      fingerprint, kind, message = 'other', 'other', 'more than 1,000 different errors'
    end
    group = { 0, task, kind, short(message), now, now, id }
  end
  group[1], group[6], group[7] = group[1] + 1, now, id
  call('HSET', KEYS[8], fingerprint, cmsgpack.pack(group))
  clear_unless(tag .. 'errors:' .. fingerprint, 'zset')
  call('ZADD', tag .. 'errors:' .. fingerprint, now, id)
  call('HSET', tag .. 'r:' .. id, 'fp', fingerprint)
  count(totals, 'dead', 1)
  stat('dead', task)
end
local function remember(id, entry)
  local key = tag .. 'at:' .. id
  clear_unless(key, 'list')
  call('RPUSH', key, cmsgpack.pack(entry))
  call('LTRIM', key, -20, -1)
end

local settles = ARGV[6] ~= '' and cmsgpack.unpack(ARGV[6]) or {}
answers[4] = #settles
for i = 1, #settles do
  local s = settles[i]
  local id, fence, kind, task = s[1], s[2], s[3], s[4]
  local key = tag .. 'r:' .. id
  local run = call('TYPE', key).ok == 'hash' and call('HMGET', key, 'fence', 'attempt', 'base',
    'max', 'cancel', 'score', 'started', 'unique', 'unique_until', 'logn', 'settled', 'state',
    'unknown', 'logb') or {}
  local answer = 'stale'
  if run[11] and tonumber(run[11]) == fence then
    answer = run[12] or 'completed'
  elseif run[1] and tonumber(run[1]) == fence and call('ZSCORE', lease, id) then
    local attempt, used = tonumber(run[2]), tonumber(run[2]) - tonumber(run[3] or 0)
    local to, score, reason = DEAD, now, nil
    if kind == 'c' then
      to = COMPLETED
      if s[6] then call('SET', tag .. 'res:' .. id, s[6]) end
      count(totals, 'completed', 1)
      stat('ok', task)
      timing('run', task, s[5])
    elseif kind == 'f' then
      count(totals, 'failed', 1)
      stat('failed', task)
      timing('run', task, s[5])
      if run[5] then
        to, reason = CANCELLED, 'cancelled while running'
      elseif s[8] or used > tonumber(run[4] or s[7]) then
        bury(id, task, s[9], s[10], s[11], s[12])
        reason = s[8] and s[8] ~= '' and s[8] or 'no runs left'
      else
        to, score = RETRYING, now + s[6]
        call('SET', tag .. 'err:' .. id, cmsgpack.pack({ s[9], s[10], s[11], s[12] }))
        count(totals, 'retried', 1)
        stat('retried', task)
      end
      remember(id, { attempt, tonumber(run[7]), now, worker, words[to],
        short(s[9] .. ': ' .. s[10]) })
    elseif run[5] then
      to, reason = CANCELLED, 'cancelled while running'
    elseif kind == 's' then
      to, score, attempt = RETRYING, now + s[6], attempt - 1
    elseif kind == 'b' then
      to, score, attempt = READY, tonumber(run[6]), attempt - 1
    else
      local first, times = string.match(run[13] or '', '^(%d+) (%d+)$')
      first, times = tonumber(first or now), tonumber(times or 0)
      attempt = attempt - 1
      if now - first >= s[6] then
        bury(id, task, s[9], s[10], s[11], s[12])
        reason = s[10]
      else
        to, score = RETRYING, now + math.min(2 ^ times, 60) * 1000
        call('HSET', key, 'unknown', string.format('%.0f %d', first, times + 1))
      end
    end
    answer = words[to]
    call('HSET', key, 'state', answer, 'settled', fence, 'attempt', attempt)
    if to >= COMPLETED then
      call('HSET', key, 'finished', now)
      if reason then call('HSET', key, 'reason', reason) end
      if run[8] then free_unique(id, run[8], run[9]) end
      if run[10] then
        call('ZADD', KEYS[13], now, id)
        if to == COMPLETED and tonumber(run[10]) > 200 then
          pcall(call, 'XTRIM', tag .. 'log:' .. id, 'MAXLEN', 200)
          local bytes = tonumber(run[14] or 0)
          local kept = math.floor(bytes * 200 / tonumber(run[10]))
          call('HSET', key, 'logn', 200, 'logb', kept)
          call('HINCRBY', meta_key, 'log_bytes', kept - bytes)
        end
      end
      if to == CANCELLED then count(totals, 'cancelled', 1) end
    end
    move(id, to, score, task, 'running')
  else
    count(totals, 'stale', 1)
  end
  answers[#answers + 1] = answer
end
local function apply(from)
  if #leaving == 0 then return end
  call('ZREM', from, unpack(leaving))
  if #entering[READY] > 0 then call('ZADD', ready, unpack(entering[READY])) end
  if #entering[RETRYING] > 0 then call('ZADD', retrying, unpack(entering[RETRYING])) end
  if #entering[COMPLETED] > 0 then call('ZADD', KEYS[5], unpack(entering[COMPLETED])) end
  if #entering[CANCELLED] > 0 then call('ZADD', KEYS[6], unpack(entering[CANCELLED])) end
  if #entering[DEAD] > 0 then call('ZADD', KEYS[7], unpack(entering[DEAD])) end
  leaving, entering = {}, { {}, {}, {}, {}, {} }
end
apply(lease)

-- A repeat of the last claim returns what is still its own and claims nothing new.
local running = call('ZCARD', lease)
local previous = want > 0 and call('GET', last_key)
local again = false
if previous then
  local fine, list = pcall(cmsgpack.unpack, previous)
  again = fine and type(list) == 'table' and list[1] == counter
  if again then
    for i = 2, #list, 2 do
      local key = tag .. 'r:' .. list[i]
      local run = call('HMGET', key, 'fence', 'owner', 'attempt', 'base', 'state')
      local body = call('GET', tag .. 'j:' .. list[i])
      if body and tonumber(run[1]) == list[i + 1] and run[2] == worker and run[5] == 'running' then
        answers[#answers + 1] = list[i]
        answers[#answers + 1] = list[i + 1]
        answers[#answers + 1] = tonumber(run[3]) - tonumber(run[4] or 0)
        answers[#answers + 1] = body
      end
    end
  end
end

local tokens, rate = nil, tonumber(meta[3] or 0)
if rate > 0 then
  local burst = math.max(rate, 1)
  local gone = math.max(now - tonumber(meta[5] or now), 0)
  tokens = math.min(burst, tonumber(meta[4] or burst) + gone * rate / 1000)
end
if want > 0 and not again and not meta[1] then
  if meta[2] then want = math.min(want, tonumber(meta[2]) - running) end
  if tokens then want = math.min(want, math.floor(tokens)) end
else
  want = 0
end
local taken = { counter }
local leases, held, parked, odd = {}, {}, 0, 0
if want > 0 then
  local paused = {}
  if meta[6] then
    for task in string.gmatch(meta[6], '[^\n]+') do paused[task] = true end
    want = math.min(want, 200)
  end
  local found = call('ZRANGE', ready, 0, want - 1, 'WITHSCORES')
  local names = {}
  for i = 1, #found, 2 do names[#names + 1] = tag .. 'j:' .. found[i] end
  local bodies = #names > 0 and call('MGET', unpack(names)) or {}
  if meta[6] and #found > 0 then
    -- Behind a parked job others may wait: look at up to 200.
    local more = call('ZRANGE', ready, want, 199, 'WITHSCORES')
    names = {}
    for i = 1, #more, 2 do
      found[#found + 1], found[#found + 2] = more[i], more[i + 1]
      names[#names + 1] = tag .. 'j:' .. more[i]
    end
    if #names > 0 then
      for _, body in ipairs(call('MGET', unpack(names))) do bodies[#bodies + 1] = body end
    end
  end
  local got = 0
  for i = 1, #bodies do
    if got >= want then break end
    local id, score, packed = found[2 * i - 1], found[2 * i], bodies[i]
    local key = tag .. 'r:' .. id
    local fine, record = pcall(cmsgpack.unpack, packed or '')
    local body = fine and type(record) == 'table' and record[3]
    if type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[2]) ~= 'string'
      or type(body[3]) ~= 'number' or type(record[1]) ~= 'number' then
      body = nil
    end
    local run, clean = nil, call('TYPE', key).ok
    clean = clean == 'none' or clean == 'hash'
    if body and clean then run = call('HMGET', key, 'attempt', 'fence', 'base', 'unknown') end
    if not run then
      local reason = not packed and 'the record is missing'
        or clean and 'the record is not readable' or 'the run record is not readable'
      if not clean then call('DEL', key) end
      local task = body and body[1] or '?'
      bury(id, task, 'Unreadable', reason, '', 'unreadable')
      call('HSET', key, 'state', 'dead', 'finished', now, 'reason', reason, 'task', task)
      move(id, DEAD, now, task, 'pending')
      odd = odd + 1
    elseif paused[body[1]] then
      held[#held + 1] = { tag .. 'held:' .. body[1], score, id }
      parked = parked + 1
    else
      local task, attempt = body[1], tonumber(run[1] or 0)
      local limit = body[6] > 0 and record[1] + body[6] or body[7]
      if limit > 0 and limit <= now and attempt == 0 then
        call('HSET', key, 'state', 'cancelled', 'finished', now, 'reason', 'expired', 'task', task)
        if body[10] ~= '' then free_unique(id, body[10], record[1] + body[11]) end
        count(totals, 'cancelled', 1)
        move(id, CANCELLED, now, task, 'pending')
        odd = odd + 1
      else
        local fence = tonumber(run[2] or 0) + 1
        attempt = attempt + 1
        call('HSET', key, 'state', 'running', 'attempt', attempt, 'fence', fence, 'owner', worker,
          'started', now, 'lease', lease_ms, 'score', score, 'task', task)
        if body[8] >= 0 then call('HSET', key, 'max', body[8]) end
        if body[10] ~= '' then
          call('HSET', key, 'unique', body[10], 'unique_until', record[1] + body[11])
        end
        if fence > 1 then
          call('HDEL', key, 'progress', 'message', 'finished', 'reason')
        else
          timing('wait', task, now - record[2])
        end
        got = got + 1
        leases[#leases + 1] = now + lease_ms
        leases[#leases + 1] = id
        taken[#taken + 1] = id
        taken[#taken + 1] = fence
        count(moves, 'running:' .. task, 1)
        count(moves, 'pending:' .. task, -1)
        stat('started', task)
        answers[#answers + 1] = id
        answers[#answers + 1] = fence
        answers[#answers + 1] = attempt - tonumber(run[3] or 0)
        answers[#answers + 1] = packed
      end
    end
  end
  if got > 0 then
    call('SET', last_key, cmsgpack.pack(taken), 'PX', 60000)
    if tokens then tokens = tokens - got end
  end
  if got < want and parked + odd > 0 then answers[3] = 1 end
end
if tokens then call('HSET', meta_key, 'tokens', tokens, 'tokens_at', now) end
call('HSET', meta_key, 'seen', now)
if parked > 0 then call('HINCRBY', meta_key, 'held', parked) end
for field, by in pairs(moves) do
  if by ~= 0 then call('HINCRBY', tasks_key, field, by) end
end
for field, by in pairs(totals) do call('HINCRBY', KEYS[10], field, by) end
if next(stats) then
  for field, by in pairs(stats) do
    call('HINCRBY', minute_key, field, by)
    call('HINCRBY', hour_key, field, by)
  end
  call('EXPIRE', minute_key, 10800)
  call('EXPIRE', hour_key, 172800)
end
apply(ready)
for i = 1, #held do
  local kind = call('TYPE', held[i][1]).ok
  if kind == 'none' or kind == 'zset' then
    call('ZREM', ready, held[i][3])
    call('ZADD', held[i][1], held[i][2], held[i][3])
  end
end
if #leases > 0 then
  local ids = {}
  for i = 2, #leases, 2 do ids[#ids + 1] = leases[i] end
  call('ZREM', ready, unpack(ids))
  call('ZADD', lease, unpack(leases))
end

-- The marker stands exactly if a job could be started now.
running = call('ZCARD', lease)
local open = not meta[1] and call('ZCARD', ready) > 0
if open and meta[2] then open = running < tonumber(meta[2]) end
if open and tokens then open = tokens >= 1 end
if open then call('ZADD', KEYS[12], 0, '1') else call('DEL', KEYS[12]) end

local function sooner(at)
  local ms = math.max(at - now, 0)
  if answers[2] < 0 or ms < answers[2] then answers[2] = ms end
end
local first = call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2]
if first then sooner(tonumber(first)) end
first = call('ZRANGE', retrying, 0, 0, 'WITHSCORES')[2]
if first then sooner(tonumber(first)) end
if running > 0 then
  first = call('ZRANGE', lease, 0, 0, 'WITHSCORES')[2]
  sooner(math.max(tonumber(first), tonumber(meta[7] or 0)) + 1)
end
if meta[8] then sooner(now) end
if tokens and tokens < 1 and call('ZCARD', ready) > 0 then
  sooner(now + math.ceil((1 - tokens) * 1000 / rate))
end
return answers
