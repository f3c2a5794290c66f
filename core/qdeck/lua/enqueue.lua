-- Promise: creates each job once, all of this call or none; a known id changes nothing.
-- KEYS: ready scheduled retrying lease meta totals tasks wake audit
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
-- A body that says nothing special is known by its bytes: unpacking it costs three times as much.
local plain = {}
local function glance(packed)
  local shape, size = string.byte(packed, 1, 2)
  if shape ~= 157 or size < 160 or size > 191
    or string.sub(packed, -10) ~= '\0\0\0\0\255\255\160\0\160\192' then return end
  local payload, priority = string.byte(packed, size - 157), string.byte(packed, -11)
  if payload < 160 or payload > 219 or priority > 9 then return end
  local task = string.sub(packed, 3, size - 158)
  local name = priority .. task
  plain[name] = plain[name] or { task, '', priority, 0, 0, 0, 0, -1, -1, '', 0, '' }
  return plain[name]
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

local meta = call('HMGET', KEYS[5], 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'held', 'copies', 'seq')
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
local bodies, plainly = {}, max_size == 0 and not actor
for i = 3, last, 2 do
  local packed = ARGV[i + 1]
  local body = #packed > 12 and glance(packed)
  if not body then plainly, body = false, decode(packed) end
  if not body then return redis.error_reply('QBODY job ' .. ARGV[i] .. ' is not readable') end
  bodies[i] = body
end

local rate, at_once = bounded(meta[3], 0), '\147' .. cmsgpack.pack(now, 0)
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
      local head, target, score = at_once, scheduled, due
      if due > now then
        answer, head, soonest = 's', '\147' .. cmsgpack.pack(now, due), math.min(soonest, due)
        later[task] = later[task] + 1
      else
        seq = seq + 1
        answer, score = 'p', (9 - body[3]) * 4398046511104 + seq
        target = held and kept[held] or ready
      end
      local at, place = 2 * fresh, #target
      records[at - 1], records[at] = tag .. 'j:' .. id, head .. ARGV[i + 1]
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
local indexes, sooner, open
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
  local names = {}
  for i = 1, #tasks do names[i] = 'index:' .. tasks[i] end
  indexes, sooner = call('HMGET', KEYS[7], unpack(names)), false
  if actor and actor ~= '' then call('XLEN', KEYS[9]) end
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
local undo, refused, first_of_minute = {}, nil, false
for _, key in ipairs({ KEYS[6], minute_key, hour_key }) do
  local field = key == KEYS[6] and 'enqueued' or 'in'
  local sum = redis.pcall('HINCRBY', key, field, fresh)
  if type(sum) == 'table' then refused = sum break end
  first_of_minute = first_of_minute or key == minute_key and sum == fresh
  undo[#undo + 1] = { 'HINCRBY', key, field, -fresh }
end
local function enter(...)
  local reply = not refused and redis.pcall('ZADD', ...)
  if type(reply) == 'table' then refused = reply end
  return reply == 1
end
if sooner then
  enter(KEYS[8], 1, '1')
elseif open and enter(KEYS[8], 'NX', 0, '1') then
  undo[#undo + 1] = { 'EXPIRE', KEYS[8], 0 }
end
if #ready > 0 then enter(KEYS[1], unpack(ready)) end
if refused then
  for i = 1, #undo do call(unpack(undo[i])) end
  if first_of_minute then call('EXPIRE', minute_key, 10800) end
  -- Who may only produce may not delete, but what ends at once is gone as well.
  for i = 1, #records, 2 do call('EXPIRE', records[i], 0) end
  return refused
end
call('HSET', KEYS[5], 'seq', string.format('%.0f', bounded(meta[9], 0) + fresh))
local held_count = 0
for i = 1, #tasks do
  local task, index = tasks[i], bounded(indexes[i])
  if not index then
    index = call('HINCRBY', KEYS[5], 'known_tasks', 1)
    call('HSET', KEYS[7], 'index:' .. task, index)
  end
  local field, begun = 'in:' .. (index > 40 and 'other' or task), counts[task] - later[task]
  call('HINCRBY', minute_key, field, counts[task])
  call('HINCRBY', hour_key, field, counts[task])
  if begun > 0 then call('HINCRBY', KEYS[7], 'pending:' .. task, begun) end
  if later[task] > 0 then call('HINCRBY', KEYS[7], 'scheduled:' .. task, later[task]) end
end
if first_of_minute then
  call('EXPIRE', minute_key, 10800)
  call('EXPIRE', hour_key, 3456000)
end
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
elseif actor then
  local target = last == 4 and 'job ' .. ARGV[3] or fresh .. ' jobs'
  call('XADD', KEYS[9], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'enqueue', 'target',
    target, 'count', fresh, 'outcome', #scheduled > 0 and 'scheduled' or 'pending')
end
if #scheduled > 0 then call('ZADD', KEYS[2], unpack(scheduled)) end
return answers
