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

local function bounded(value, default)
  local number = tonumber(value)
  return number and number > -1e15 and number < 1e15 and number or default
end
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
  local known = #packed > 12 and glance(packed)
  if known then return known end
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
local jobs = {}
for i = 3, last, 2 do jobs[#jobs + 1] = tag .. 'j:' .. ARGV[i] end
local some_known = call('EXISTS', unpack(jobs)) > 0
local answers, fresh, holders, seen, kept, late = { now }, {}, {}, {}, {}, false
local counts, tasks, indexes = {}, {}, {}
for i = 3, last, 2 do
  local id, packed = ARGV[i], ARGV[i + 1]
  local body, answer = decode(packed), nil
  if not body then return redis.error_reply('QBODY job ' .. id .. ' is not readable') end
  if seen[id] or some_known and call('EXISTS', tag .. 'j:' .. id) == 1
    or actor == '' and call('EXISTS', tag .. 'moved:' .. id) == 1 then
    answer = '='
  elseif body[10] ~= '' then
    answer = holders[body[10]] or holder_of(body[10])
    if not answer then holders[body[10]] = id end
  end
  seen[id] = true
  if not answer then
    local waits, due = body[13] and body[13][3] > 0, body[4] > 0 and now + body[4] or body[5]
    if waits then due = 90000000000000 end
    local held = paused_tasks[body[1]] and tag .. 'held:' .. body[1]
    answer = due > now and 's' or 'p'
    late = late or answer == 's'
    if not counts[body[1]] then
      counts[body[1]], tasks[#tasks + 1] = 0, body[1]
      indexes[#tasks] = 'index:' .. body[1]
    end
    counts[body[1]] = counts[body[1]] + 1
    if held and not kept[held] then
      local found = call('TYPE', held).ok
      if found ~= 'none' and found ~= 'zset' then
        return redis.error_reply('QKIND ' .. held .. ' is a ' .. found .. ', not a zset')
      end
      kept[held] = {}
    end
    fresh[#fresh + 1] = { id, packed, body, math.max(due, now), answer, held }
  end
  answers[#answers + 1] = answer
end
if #fresh == 0 then return answers end
if max_size > 0 then
  local size = bounded(meta[7], 0)
  for i = 1, 4 do size = size + call('ZCARD', KEYS[i]) end
  if size + #fresh > max_size then
    return redis.error_reply('QFULL ' .. size .. ' of ' .. max_size)
  end
end

-- A key of a wrong type refuses to be read, here or above, before anything is written; the marker
-- comes first, and refuses to be written. What this call has no use for is not looked at.
indexes = call('HMGET', KEYS[7], unpack(indexes))
local first_of_minute = call('HLEN', minute_key) == 0
for _, key in ipairs({ KEYS[6], hour_key }) do call('HLEN', key) end
if actor and actor ~= '' then call('XLEN', KEYS[9]) end
local first = late and bounded(call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]) or nil
local waiting, seq = call('ZCARD', KEYS[1]), bounded(meta[9], 0)
local moves, records, ready, scheduled = {}, {}, {}, {}
local held_count, sooner = 0, false
for i = 1, #fresh do
  local id, packed, body, due, answer, held = unpack(fresh[i])
  local field = (answer == 's' and 'scheduled:' or 'pending:') .. body[1]
  records[#records + 1] = tag .. 'j:' .. id
  records[#records + 1] = '\147' .. cmsgpack.pack(now, due > now and due or 0) .. packed
  moves[field] = (moves[field] or 0) + 1
  local target, score = scheduled, due
  if answer == 's' then
    if due < math.min(first or 90000000000000, 90000000000000) then sooner = true end
  else
    seq = seq + 1
    target, score = held and kept[held] or ready, (9 - body[3]) * 4398046511104 + seq
    if held then held_count = held_count + 1 end
  end
  target[#target + 1] = score
  target[#target + 1] = id
end
local pending = waiting + #ready / 2
-- The marker stands if a job could be started now (score 0), or until a worker looked where
-- something is due earlier than workers know (score 1).
local open, rate = not meta[1] and pending > 0, bounded(meta[3], 0)
if open and meta[2] then open = call('ZCARD', KEYS[4]) < bounded(meta[2], 0) end
if open and rate > 0 then
  local gone = math.max(now - bounded(meta[5], now), 0)
  open = bounded(meta[4], 1) + gone * rate / 1000 >= 1
  sooner = sooner or not open and waiting == 0
end
if sooner then
  call('ZADD', KEYS[8], 1, '1')
elseif open then
  call('ZADD', KEYS[8], 'NX', 0, '1')
end
call('HSET', KEYS[5], 'seq', string.format('%.0f', bounded(meta[9], 0) + #fresh))
for i = 1, #tasks do
  local task, index = tasks[i], bounded(indexes[i])
  if not index then
    index = call('HINCRBY', KEYS[5], 'known_tasks', 1)
    call('HSET', KEYS[7], 'index:' .. task, index)
  end
  local field = 'in:' .. (index > 40 and 'other' or task)
  call('HINCRBY', minute_key, field, counts[task])
  call('HINCRBY', hour_key, field, counts[task])
end
call('HINCRBY', minute_key, 'in', #fresh)
call('HINCRBY', hour_key, 'in', #fresh)
if first_of_minute then
  call('EXPIRE', minute_key, 10800)
  call('EXPIRE', hour_key, 3456000)
end
call('HINCRBY', KEYS[6], 'enqueued', #fresh)
for field, by in pairs(moves) do call('HINCRBY', KEYS[7], field, by) end
if held_count > 0 then call('HINCRBY', KEYS[5], 'held', held_count) end
for digest, id in pairs(holders) do call('SET', tag .. 'unique:' .. digest, id) end
if actor == '' then
  for i = 1, #fresh do call('SET', tag .. 'moved:' .. fresh[i][1], 1, 'EX', 604800) end
elseif actor then
  local target = last == 4 and 'job ' .. ARGV[3] or #fresh .. ' jobs'
  call('XADD', KEYS[9], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'enqueue', 'target',
    target, 'count', #fresh, 'outcome', fresh[1][5] == 's' and 'scheduled' or 'pending')
end
call('MSET', unpack(records))
if #ready > 0 then call('ZADD', KEYS[1], unpack(ready)) end
if #scheduled > 0 then call('ZADD', KEYS[2], unpack(scheduled)) end
for held, entries in pairs(kept) do
  if #entries > 0 then call('ZADD', held, unpack(entries)) end
end
return answers
