-- Promise: creates each job once, all of this call or none; a known id changes nothing.
-- KEYS: ready scheduled retrying lease meta tasks wake audit
-- ARGV: tag, max_size (0: none), then id and body of each job, and last who enqueues it where that
--       goes on record; an empty name there is a job's that came from another queue, which is
--       remembered for a week
--       body: msgpack [task, payload, priority, delay_ms, at_ms, expires_in_ms, expires_at_ms,
--             max_retries, timeout_ms, unique, unique_for_ms, metadata, links]
--       links: nil or [then, after, number of jobs that it waits for (it is scheduled until they
--             have completed), limit key, how many of that key]
-- Returns: now_ms, then for each job "p" (pending), "s" (scheduled), "=" (known) or the id that
--          holds its unique key; error QFULL where max_size is reached, QBODY for one

local call = redis.call
local tag, max_size = ARGV[1], tonumber(ARGV[2])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)

-- With: bounded
-- With: tail
-- A body that says nothing special is known by its bytes: unpacking it costs three times as much.
local function glance(packed)
  local shape, size = string.byte(packed, 1, 2)
  local priority = shape == 157 and size >= 160 and size <= 191 and plain_priority(packed)
  if not priority then return end
  local payload = string.byte(packed, size - 157)
  if payload < 160 or payload > 219 then return end
  return string.sub(packed, 3, size - 158), priority
end
local meta = call('HMGET', KEYS[5], 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'held', 'copies', 'seq', 'enqueued', 'shown')
local at_once = '\147' .. cmsgpack.pack(now, 0)
local function finish(fresh, new_minute)
  call('HSET', KEYS[5], 'seq', bounded(meta[9], 0) + fresh,
    'enqueued', bounded(meta[10], 0) + fresh)
  if new_minute then
    call('EXPIRE', minute_key, 10800)
    call('EXPIRE', hour_key, 3456000)
  end
end
local function refusal(reply, name)
  local found = call('TYPE', name).ok
  if found == 'hash' or name ~= minute_key and name ~= hour_key then return reply end
  return redis.error_reply('QKIND ' .. name .. ' is a ' .. found .. ', not a hash')
end

-- One job that says nothing special goes a short way where nothing is paused or limited and its
-- task is known. Here as below: where a key of a wrong type refuses its part, what was written
-- before is taken back. Who may only produce may not delete, but what ends at once is gone as well.
local task, priority
if #ARGV == 4 and max_size == 0 and meta[11] and not (meta[1] or meta[2] or meta[3] or meta[6]) then
  task, priority = glance(#ARGV[4] > 12 and ARGV[4] or '')
end
if task and string.find(meta[11], '\n' .. task .. '\n', 1, true) then
  local id, pcall, refused = ARGV[3], redis.pcall, nil
  local key, of_hour, of_task = tag .. 'j:' .. id, 'in:' .. task, 'pending:' .. task
  if call('MSETNX', key, at_once .. ARGV[4]) == 0 then return { now, '=' } end
  local score = (9 - priority) * 4398046511104 + bounded(meta[9], 0) + 1
  local minute, hour = pcall('HINCRBY', minute_key, 'in', 1), pcall('HINCRBY', hour_key, of_hour, 1)
  local sum, woken = pcall('HINCRBY', KEYS[6], of_task, 1), pcall('ZADD', KEYS[7], 'NX', 0, '1')
  local entered = type(minute) == 'number' and type(hour) == 'number' and type(sum) == 'number'
    and type(woken) == 'number' and pcall('ZADD', KEYS[1], score, id)
  if type(entered) == 'number' then
    finish(1, minute == 1)
    return { now, 'p' }
  end
  local function take_back(reply, ...)
    if type(reply) == 'table' then refused = refused or refusal(reply, select(2, ...))
    else call(...) end
  end
  take_back(minute, 'HINCRBY', minute_key, 'in', -1)
  take_back(hour, 'HINCRBY', hour_key, of_hour, -1)
  take_back(sum, 'HINCRBY', KEYS[6], of_task, -1)
  if woken ~= 0 then take_back(woken, 'EXPIRE', KEYS[7], 0) end
  if minute == 1 then call('EXPIRE', minute_key, 10800) end
  call('EXPIRE', key, 0)
  return refused or entered
end
local function decode(packed)
  local fine, body = pcall(cmsgpack.unpack, packed)
  if not fine or type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[2]) ~= 'string'
    or type(body[10]) ~= 'string' then
    return
  end
  for i = 3, 11 do
    local number = body[i]
    if i ~= 10 and (type(number) ~= 'number' or not (number > -1e15 and number < 1e15)) then
      return
    end
  end
  local links = body[13]
  if links and not (type(links) == 'table' and type(links[3]) == 'number'
    and type(links[4]) == 'string' and type(links[5]) == 'number') then
    return
  end
  return body[3] >= 0 and body[3] <= 9 and body or nil
end

local paused_tasks = {}
for task in string.gmatch(meta[6] or '', '[^\n]+') do paused_tasks[task] = true end

-- Read and check all, then write all. A holder that finished, or is gone, without leaving its key
-- a time to live (its record was not readable), holds nothing.
local function holder_of(digest)
  local key = tag .. 'unique:' .. digest
  local holder = call('MGET', key)[1]
  if not holder or call('PTTL', key) >= 0 then return holder end
  local fine, state = pcall(call, 'HGET', tag .. 'r:' .. holder, 'state')
  if call('EXISTS', tag .. 'j:' .. holder) == 0 or not fine or state == 'completed'
    or state == 'dead' or state == 'cancelled' then
    return nil
  end
  -- Nor does one that was cleared.
  for copy in string.gmatch(meta[8] or '', '[^\n]+') do
    local trash = tag .. 'trash:' .. copy
    for i = 1, bounded(call('HGET', trash, 'job_sets'), 0) do
      if call('ZSCORE', trash .. ':' .. i, holder) then return nil end
    end
  end
  return holder
end
local last = #ARGV - #ARGV % 2
local actor = ARGV[last + 1]
local bodies, alike, plainly = {}, {}, max_size == 0 and not actor
for i = 3, last, 2 do
  local packed, body = ARGV[i + 1], nil
  task, priority = glance(#packed > 12 and packed or '')
  if task then
    local name = priority .. task
    body = alike[name] or { task, '', priority, 0, 0, 0, 0, -1, -1, '', 0, '' }
    alike[name] = body
  else
    plainly, body = false, decode(packed)
  end
  if not body then return redis.error_reply('QBODY job ' .. ARGV[i] .. ' is not readable') end
  bodies[i] = body
end

local rate = bounded(meta[3], 0)
local answers, fresh, records, ready, scheduled, kept, holders, tasks, counts, later, soonest
local function sort_out(some_known)
  local seen, seq = {}, bounded(meta[9], 0)
  answers, fresh, records, ready, scheduled = { now }, 0, {}, {}, {}
  kept, holders, tasks, counts, later, soonest = {}, {}, {}, {}, {}, 90000000000000
  for i = 3, last, 2 do
    local id, body, answer = ARGV[i], bodies[i], nil
    if seen[id] or some_known and call('EXISTS', tag .. 'j:' .. id) == 1
      or actor == '' and call('EXISTS', tag .. 'moved:' .. id) == 1 then
      answer = '='
    elseif body[10] ~= '' then
      answer = holders[body[10]] or holder_of(body[10])
      if not answer then holders[body[10]] = id end
    end
    seen[id] = true
    if not answer then
      local task, due = body[1], body[4] > 0 and now + body[4] or body[5]
      if body[13] and body[13][3] > 0 then due = 90000000000000 end
      local held = paused_tasks[task] and tag .. 'held:' .. task
      if held and not kept[held] then
        local found = call('TYPE', held).ok
        if found ~= 'none' and found ~= 'zset' then
          return redis.error_reply('QKIND ' .. held .. ' is a ' .. found .. ', not a zset')
        end
        kept[held] = {}
      end
      if not counts[task] then
        counts[task], later[task], tasks[#tasks + 1] = 0, 0, task
      end
      counts[task], fresh = counts[task] + 1, fresh + 1
      local start, target, score = at_once, scheduled, due
      if due > now then
        answer, start, soonest = 's', '\147' .. cmsgpack.pack(now, due), math.min(soonest, due)
        later[task] = later[task] + 1
      else
        seq = seq + 1
        answer, score = 'p', (9 - body[3]) * 4398046511104 + seq
        target = held and kept[held] or ready
      end
      local at, place = 2 * fresh, #target
      records[at - 1], records[at] = tag .. 'j:' .. id, start .. ARGV[i + 1]
      target[place + 1], target[place + 2] = score, id
    end
    answers[#answers + 1] = answer
  end
end
-- Where nothing special is said, the first write tells whether an id is known.
local known = false
if not plainly then
  local jobs = {}
  for i = 3, last, 2 do jobs[#jobs + 1] = tag .. 'j:' .. ARGV[i] end
  known = call('EXISTS', unpack(jobs)) > 0
end

-- A key of a wrong type refuses to be read, here or above, before anything is written, or to be
-- written, and what was written before is taken back. What is of no use here is not looked at.
local sooner, open
repeat
  local unfit = sort_out(known)
  if unfit or fresh == 0 then return unfit or answers end
  if max_size > 0 then
    local size = bounded(meta[7], 0)
    for i = 1, 4 do size = size + call('ZCARD', KEYS[i]) end
    if size + fresh > max_size then
      return redis.error_reply('QFULL ' .. size .. ' of ' .. max_size)
    end
  end
  sooner = false
  if actor and actor ~= '' then
    call('XLEN', KEYS[8])
    call('ZCARD', KEYS[1])
  end
  if #scheduled > 0 then
    local first = bounded(call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2], 90000000000000)
    sooner = soonest < math.min(first, 90000000000000)
  end
  -- The marker stands if a job could be started now (score 0), or until a worker looked where
  -- something is due earlier than workers know (score 1).
  local waiting = (#ready == 0 or rate > 0) and call('ZCARD', KEYS[1]) or 0
  open = not meta[1] and waiting + #ready > 0
  if open and meta[2] then open = call('ZCARD', KEYS[4]) < bounded(meta[2], 0) end
  if open and rate > 0 then
    local gone = math.max(now - bounded(meta[5], now), 0)
    open = bounded(meta[4], 1) + gone * rate / 1000 >= 1
    sooner = sooner or not open and waiting == 0
  end
  known = call('MSETNX', unpack(records)) == 0
until not known
local undo, refused = {}, nil
local function add(key, field, by)
  local sum = not refused and redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'table' then refused, sum = refusal(sum, key), nil end
  if sum then undo[#undo + 1], undo[#undo + 2], undo[#undo + 3] = key, field, -by end
  return sum
end
local first_of_minute = add(minute_key, 'in', fresh) == fresh
-- The first 40 tasks of a queue are counted by name in the hours, the others together.
local function shown(task)
  if meta[11] and string.find(meta[11], '\n' .. task .. '\n', 1, true) then return true end
  local index = redis.pcall('HGET', KEYS[6], 'index:' .. task)
  local number = type(index) ~= 'table' and bounded(index)
  if not number and type(index) ~= 'table' then
    number = redis.pcall('HINCRBY', KEYS[5], 'known_tasks', 1)
    if type(number) ~= 'table' then call('HSET', KEYS[6], 'index:' .. task, number)
    else index = number end
  end
  if type(index) == 'table' then refused = refused or index return end
  if number > 40 then return end
  meta[11] = (meta[11] or '\n') .. task .. '\n'
  call('HSET', KEYS[5], 'shown', meta[11])
  return true
end
for i = 1, #tasks do
  local task = tasks[i]
  local begun = counts[task] - later[task]
  add(hour_key, 'in:' .. (shown(task) and task or 'other'), counts[task])
  if begun > 0 then add(KEYS[6], 'pending:' .. task, begun) end
  if later[task] > 0 then add(KEYS[6], 'scheduled:' .. task, later[task]) end
end
local function enter(...)
  local reply = not refused and redis.pcall('ZADD', ...)
  if type(reply) == 'table' then refused = reply end
  return reply == 1
end
if sooner then
  enter(KEYS[7], 1, '1')
elseif open then
  open = enter(KEYS[7], 'NX', 0, '1')
end
if actor and actor ~= '' and not refused then
  local target = last == 4 and 'job ' .. ARGV[3] or fresh .. ' jobs'
  local noted = redis.pcall('XADD', KEYS[8], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb',
    'enqueue', 'target', target, 'count', fresh, 'outcome',
    #scheduled > 0 and 'scheduled' or 'pending')
  if type(noted) == 'table' then refused = noted end
end
if #ready > 0 then enter(KEYS[1], unpack(ready)) end
if refused then
  for i = 1, #undo, 3 do call('HINCRBY', undo[i], undo[i + 1], undo[i + 2]) end
  if open and not sooner then call('EXPIRE', KEYS[7], 0) end
  if first_of_minute then call('EXPIRE', minute_key, 10800) end
  for i = 1, #records, 2 do call('EXPIRE', records[i], 0) end
  return refused
end
finish(fresh, first_of_minute)
local held_count = 0
for held, entries in pairs(kept) do
  if #entries > 0 then call('ZADD', held, unpack(entries)) end
  held_count = held_count + #entries / 2
end
if held_count > 0 then call('HINCRBY', KEYS[5], 'held', held_count) end
for digest, id in pairs(holders) do call('SET', tag .. 'unique:' .. digest, id) end
if actor == '' then
  for i = 1, #records, 2 do
    call('SET', tag .. 'moved:' .. string.sub(records[i], #tag + 3), 1, 'EX', 604800)
  end
end
if #scheduled > 0 then call('ZADD', KEYS[2], unpack(scheduled)) end
return answers
