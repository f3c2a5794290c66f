-- Promise: makes due jobs pending in the order of their due times, returns jobs whose lease has
--          ended, and takes jobs of resumed tasks out of hold; at most `max` of each.
-- KEYS: ready scheduled retrying lease cancelled dead errors meta totals tasks wake
-- ARGV: tag, lease_ms of the caller, max, retries of a job that names none
-- Returns: ms until something is due (-1: nothing is), promoted, returned, then the ids of the
--          returned jobs

local call = redis.call
local ready, scheduled, retrying, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local meta_key, tasks_key = KEYS[8], KEYS[10]
local tag, lease_ms, max, retries = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)

local function expect(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    error({ err = 'QKIND ' .. name .. ' is a ' .. found .. ', not a ' .. kind })
  end
end
for i = 1, 6 do expect(KEYS[i], 'zset') end
for i = 7, 10 do expect(KEYS[i], 'hash') end
expect(KEYS[11], 'zset')
expect(minute_key, 'hash')
expect(hour_key, 'hash')
local function clear_unless(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then call('DEL', name) end
end

local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at', 'seen',
  'reap_after', 'unpark', 'seq', 'held')
local moves, stats, totals = {}, {}, {}
local function count(where, name, by) where[name] = (where[name] or 0) + by end
local function stat(name, task)
  local index = call('HGET', tasks_key, 'index:' .. task)
  count(stats, name, 1)
  count(stats, name .. ':' .. ((not index or tonumber(index) > 40) and 'other' or task), 1)
end
local function decode(packed)
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) == 'table' and type(body[1]) == 'string' and type(body[3]) == 'number' then
    return body, record
  end
end
local function free_unique(id, body, record)
  if not body or body[10] == '' then return end
  local key, until_ms = tag .. 'unique:' .. body[10], record[1] + body[11]
  if call('GET', key) == id then
    if until_ms > now then call('PEXPIREAT', key, until_ms) else call('DEL', key) end
  end
end
local function bury(id, task, kind, message, fingerprint, at_ms)
  call('SET', tag .. 'err:' .. id, cmsgpack.pack({ kind, message, '', fingerprint }))
  local fine, group = pcall(cmsgpack.unpack, call('HGET', KEYS[7], fingerprint) or '')
  if not fine or type(group) ~= 'table' then group = { 0, task, kind, message, now, now, id } end
  group[1], group[6], group[7] = group[1] + 1, now, id
  call('HSET', KEYS[7], fingerprint, cmsgpack.pack(group))
  clear_unless(tag .. 'errors:' .. fingerprint, 'zset')
  call('ZADD', tag .. 'errors:' .. fingerprint, at_ms, id)
  clear_unless(tag .. 'r:' .. id, 'hash')
  call('HSET', tag .. 'r:' .. id, 'state', 'dead', 'finished', now, 'reason', message, 'fp',
    fingerprint, 'task', task)
  count(totals, 'dead', 1)
  stat('dead', task)
end
local function cancel(id, task, reason)
  call('HSET', tag .. 'r:' .. id, 'state', 'cancelled', 'finished', now, 'reason', reason, 'task',
    task)
  count(totals, 'cancelled', 1)
end

call('PERSIST', meta_key)

-- Each plan is { id, from, to, score }; sets change last, one neighbouring pair a job.
local plans = {}

-- Due jobs, by due time over both sets.
local due = {}
for _, from in ipairs({ scheduled, retrying }) do
  local list = call('ZRANGEBYSCORE', from, '-inf', now, 'WITHSCORES', 'LIMIT', 0, max)
  for i = 1, #list, 2 do due[#due + 1] = { list[i], tonumber(list[i + 1]), from } end
end
table.sort(due, function(a, b) return a[2] < b[2] end)
local seq = tonumber(meta[9] or 0)
local promoted = math.min(#due, max)
for i = 1, promoted do
  local id, _, from = unpack(due[i])
  local was = from == scheduled and 'scheduled:' or 'retrying:'
  local body, record = decode(call('GET', tag .. 'j:' .. id))
  local task = body and body[1] or '?'
  if not body then
    bury(id, task, 'Unreadable', 'the record is not readable', 'unreadable', now)
    plans[#plans + 1] = { id, from, KEYS[6], now }
    count(moves, 'dead:?', 1)
  else
    local limit = body[6] > 0 and record[1] + body[6] or body[7]
    if from == scheduled and limit > 0 and limit <= now then
      clear_unless(tag .. 'r:' .. id, 'hash')
      cancel(id, task, 'expired')
      free_unique(id, body, record)
      plans[#plans + 1] = { id, from, KEYS[5], now }
      count(moves, 'cancelled:' .. task, 1)
    else
      seq = seq + 1
      if from == retrying and call('TYPE', tag .. 'r:' .. id).ok == 'hash' then
        call('HSET', tag .. 'r:' .. id, 'state', 'pending')
      end
      plans[#plans + 1] = { id, from, ready, (9 - body[3]) * 4398046511104 + seq }
      count(moves, 'pending:' .. task, 1)
    end
  end
  count(moves, was .. task, -1)
end
if promoted > 0 then call('HSET', meta_key, 'seq', string.format('%.0f', seq)) end

-- Leases. After an outage nobody was seen: then nothing is taken for a whole lease.
local running, returned = call('ZCARD', lease), {}
if running > 0 then
  local seen, after = tonumber(meta[6] or 0), tonumber(meta[7] or 0)
  if after - now > lease_ms then after = 0 end
  if seen < now - lease_ms / 2 or seen > now then
    if after <= now then after = now + lease_ms end
    call('HSET', meta_key, 'seen', now, 'reap_after', string.format('%.0f', after))
    meta[7] = after
  elseif now >= after then
    local far = call('ZREVRANGE', lease, 0, max - 1, 'WITHSCORES')
    for i = 1, #far, 2 do
      local key = tag .. 'r:' .. far[i]
      local own = call('TYPE', key).ok == 'hash' and tonumber(call('HGET', key, 'lease') or 0) or 0
      if own == 0 then own = lease_ms end
      if tonumber(far[i + 1]) <= now + 2 * own then break end
      call('ZADD', lease, now + own, far[i])
    end
    local ended = call('ZRANGEBYSCORE', lease, '-inf', now, 'LIMIT', 0, max)
    for i = 1, #ended do
      local id = ended[i]
      local key = tag .. 'r:' .. id
      local body, record = decode(call('GET', tag .. 'j:' .. id))
      local task = body and body[1] or '?'
      local run = call('TYPE', key).ok == 'hash' and call('HMGET', key, 'attempt', 'base',
        'crashes', 'cancel', 'score', 'started', 'owner') or {}
      local to, score, word = KEYS[6], now, 'dead'
      local crashes = tonumber(run[3] or 0) + 1
      local lost = 'worker ' .. (run[7] or '?') .. ' vanished'
      if not body or not run[1] then
        bury(id, task, 'Unreadable', 'the record is not readable', 'unreadable', now)
      else
        local limit = body[8] >= 0 and body[8] or retries
        call('HSET', key, 'crashes', crashes)
        clear_unless(tag .. 'at:' .. id, 'list')
        if run[4] then
          to, word = KEYS[5], 'cancelled'
          cancel(id, task, 'cancelled while running')
          free_unique(id, body, record)
        elseif crashes >= 3 then
          bury(id, task, 'WorkerLost', 'poison: ' .. crashes .. ' workers vanished while running it',
            redis.sha1hex('lost:' .. task):sub(1, 16), now)
          free_unique(id, body, record)
        elseif tonumber(run[1]) - tonumber(run[2] or 0) > limit then
          bury(id, task, 'WorkerLost', lost .. ' and no runs are left',
            redis.sha1hex('lost:' .. task):sub(1, 16), now)
          free_unique(id, body, record)
        else
          to, score, word = ready, tonumber(run[5]), 'pending'
          call('HSET', key, 'state', 'pending')
        end
        call('RPUSH', tag .. 'at:' .. id, cmsgpack.pack({ tonumber(run[1]), tonumber(run[6]), now,
          run[7] or '', 'lost', lost }))
        call('LTRIM', tag .. 'at:' .. id, -20, -1)
        stat('crashed', task)
        count(totals, 'crashed', 1)
      end
      plans[#plans + 1] = { id, lease, to, score }
      returned[#returned + 1] = id
      count(moves, word .. ':' .. task, 1)
      count(moves, 'running:' .. task, -1)
    end
  end
end

-- Jobs of resumed tasks, in steps.
if meta[8] then
  local left, room, held = {}, max, tonumber(meta[10] or 0)
  for task in string.gmatch(meta[8], '[^\n]+') do
    local from = tag .. 'held:' .. task
    local list = {}
    if room > 0 and call('TYPE', from).ok == 'zset' then
      list = call('ZRANGE', from, 0, room - 1, 'WITHSCORES')
      for i = 1, #list, 2 do plans[#plans + 1] = { list[i], from, ready, list[i + 1] } end
      room, held = room - #list / 2, held - #list / 2
      if call('ZCARD', from) > #list / 2 then left[#left + 1] = task end
    elseif room <= 0 then
      left[#left + 1] = task
    end
  end
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
  call('EXPIRE', hour_key, 172800)
end
for i = 1, #plans do
  local id, from, to, score = unpack(plans[i])
  call('ZREM', from, id)
  call('ZADD', to, score, id)
end

-- The marker stands exactly if a job could be started now.
running = call('ZCARD', lease)
local open = not meta[1] and call('ZCARD', ready) > 0
if open and meta[2] then open = running < tonumber(meta[2]) end
if open and meta[3] then
  local rate = tonumber(meta[3])
  local gone = math.max(now - tonumber(meta[5] or now), 0)
  open = tonumber(meta[4] or 1) + gone * rate / 1000 >= 1
end
if open then call('ZADD', KEYS[11], 0, '1') else call('DEL', KEYS[11]) end

local next_ms = -1
local function sooner(at)
  local ms = math.max(at - now, 0)
  if next_ms < 0 or ms < next_ms then next_ms = ms end
end
for _, from in ipairs({ scheduled, retrying }) do
  local first = call('ZRANGE', from, 0, 0, 'WITHSCORES')[2]
  if first then sooner(tonumber(first)) end
end
if running > 0 then
  local first = call('ZRANGE', lease, 0, 0, 'WITHSCORES')[2]
  sooner(math.max(tonumber(first), tonumber(meta[7] or 0)) + 1)
end
if call('HEXISTS', meta_key, 'unpark') == 1 then sooner(now) end
local answer = { next_ms, promoted, #returned }
for i = 1, #returned do answer[3 + i] = returned[i] end
return answer
