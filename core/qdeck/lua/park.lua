-- Promise: holds jobs at the head of `ready` whose task is paused; gives those that have a limit key
--          one of its places while there is one, in order, and holds the others until there is;
--          looks at so many jobs at most, and at so many that have a key.
-- KEYS: ready lease meta wake
-- ARGV: tag, number of jobs, number of jobs that have a key
-- Returns: how many got a place, how many are held now; error QKIND, and then nothing was written

local call = redis.call
local ready, lease, meta_key, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local tag, most_jobs, most_keyed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'zset', 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at', 'keyed',
  'paused_tasks')
call('PERSIST', meta_key)

-- With: bounded
-- With: clear_unless
local paused = {}
for task in string.gmatch(meta[7] or '', '[^\n]+') do paused[task] = true end
-- With: tail
-- The task is told by the first bytes of a record, and that it says nothing special by the last:
-- unpacking it costs six times as much.
local function glance(packed)
  local shape, kind, _, _, _, _, _, _, _, _, due = string.byte(packed, 1, 11)
  local at = due == 207 and 20 or 12
  local body, size = string.byte(packed, at, at + 1)
  if shape ~= 147 or kind ~= 207 or body ~= 157 or size < 160 or size > 191 then return end
  local task = string.sub(packed, at + 2, at + size - 159)
  return (paused[task] or plain_priority(packed)) and task
end
-- What is not readable is dead for that reason when it is claimed.
local function ties_of(packed)
  local known = packed and #packed > 30 and glance(packed)
  if known then return known end
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) ~= 'table' or type(body[1]) ~= 'string' then return end
  local links = body[13]
  if type(links) ~= 'table' or type(links[4]) ~= 'string' or links[4] == '' then return body[1] end
  return body[1], links[4], math.max(bounded(links[5], 1), 1)
end
-- The places of a key are its members that run, or that are ready with one.
local taken = {}
local function taken_of(key)
  local places = tag .. 'key:' .. key
  if taken[key] then return taken[key] end
  clear_unless(places, 'set')
  local ids = call('SMEMBERS', places)
  taken[key] = #ids
  for from = 1, #ids, 1000 do
    local part = { unpack(ids, from, math.min(from + 999, #ids)) }
    local runs, waits = call('ZMSCORE', lease, unpack(part)), call('ZMSCORE', ready, unpack(part))
    for i = 1, #part do
      if not runs[i] and not waits[i] then taken[key] = taken[key] - call('SREM', places, part[i]) end
    end
  end
  return taken[key]
end

local keyed, listed = meta[6] or '', {}
for task in string.gmatch(keyed, '[^\n]+') do listed[task] = true end
local given, sets, left, waits, rank, bytes, dear = 0, {}, {}, {}, 0, 0, 0
local function plan(set, score, member)
  if not sets[set] then
    clear_unless(set, 'zset')
    sets[set] = {}
  end
  local entries = sets[set]
  entries[#entries + 1] = score
  entries[#entries + 1] = member
end
while rank < most_jobs and bytes < 4194304 and dear < most_keyed do
  -- Bodies are read in small steps where they may be large.
  local step = rank > 0 and bytes < 1024 * rank and 100 or 25
  local found = call('ZRANGE', ready, rank, rank + math.min(step, most_jobs - rank) - 1,
    'WITHSCORES')
  if #found == 0 then break end
  local names = {}
  for i = 1, #found, 2 do names[#names + 1] = tag .. 'j:' .. found[i] end
  rank = rank + #names
  local bodies = call('MGET', unpack(names))
  for i = 1, #names do
    local id, score = found[2 * i - 1], found[2 * i]
    local task, key, most = ties_of(bodies[i])
    bytes = bytes + #(bodies[i] or '')
    if key then dear = dear + 1 end
    -- The first job of a bulk operation that tries one goes past a pause.
    if task and paused[task] and score ~= '0' then
      plan(tag .. 'held:' .. task, score, id)
      left[#left + 1] = id
    elseif key and taken_of(key) < most then
      local fresh = call('SADD', tag .. 'key:' .. key, id)
      taken[key], given = taken[key] + fresh, given + fresh
    elseif key and call('SISMEMBER', tag .. 'key:' .. key, id) == 0 then
      plan(tag .. 'held:' .. task, score, id)
      plan(tag .. 'wait:' .. key, score, string.format('%.0f %s %s', most, task, id))
      if not waits[task .. ' ' .. key] then plan(tag .. 'keyed:' .. task, 0, key) end
      waits[task .. ' ' .. key] = true
      left[#left + 1] = id
      if not listed[task] then keyed, listed[task] = keyed .. '\n' .. task, true end
    end
  end
end
if keyed ~= (meta[6] or '') then call('HSET', meta_key, 'keyed', keyed) end
if #left > 0 then call('HINCRBY', meta_key, 'held', #left) end
for set, entries in pairs(sets) do call('ZADD', set, unpack(entries)) end
if #left == rank and rank > 0 then
  call('ZREMRANGEBYRANK', ready, 0, rank - 1)
elseif #left > 0 then
  call('ZREM', ready, unpack(left))
end

-- The marker stands exactly if a job could be started now.
local open, rate = not meta[1] and call('ZCARD', ready) > 0, bounded(meta[3], 0)
if open and meta[2] then open = call('ZCARD', lease) < bounded(meta[2], 0) end
if open and rate > 0 then
  local gone = math.max(now - bounded(meta[5], now), 0)
  open = bounded(meta[4], 1) + gone * rate / 1000 >= 1
end
if open then call('ZADD', wake, 'NX', 0, '1') else call('ZREMRANGEBYSCORE', wake, 0, 0) end
return { given, #left }
