-- Promise: creates each job once, all of this call or none; a known id changes nothing.
-- KEYS: ready scheduled retrying lease meta totals tasks wake
-- ARGV: tag, max_size (0: none), then id and body of each job
--       body: msgpack [task, payload, priority, delay_ms, at_ms, expires_in_ms, expires_at_ms,
--             max_retries, timeout_ms, unique, unique_for_ms, metadata]
-- Returns: now_ms, then for each job "p" (pending), "s" (scheduled), "=" (known) or the id that
--          holds its unique key; error QFULL where max_size is reached

local tag, max_size = ARGV[1], tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)

local kinds = { 'zset', 'zset', 'zset', 'zset', 'hash', 'hash', 'hash', 'zset', 'hash', 'hash' }
local names = { KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8],
  minute_key, hour_key }
for i = 1, #names do
  local kind = redis.call('TYPE', names[i]).ok
  if kind ~= 'none' and kind ~= kinds[i] then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. kind .. ', not a ' .. kinds[i])
  end
end

local meta = redis.call('HMGET', KEYS[5], 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'held')
local paused_tasks = {}
if meta[6] then
  for task in string.gmatch(meta[6], '[^\n]+') do paused_tasks[task] = true end
end

-- Read and check all, then write all.
local answers, fresh, holders = { now }, {}, {}
for i = 3, #ARGV, 2 do
  local id, packed = ARGV[i], ARGV[i + 1]
  local fine, body = pcall(cmsgpack.unpack, packed)
  if not fine or type(body) ~= 'table' or type(body[1]) ~= 'string'
    or type(body[3]) ~= 'number' then
    return redis.error_reply('QBODY job ' .. id .. ' is not readable')
  end
  local answer
  if redis.call('EXISTS', tag .. 'j:' .. id) == 1 then
    answer = '='
  elseif body[10] ~= '' then
    local holder = holders[body[10]] or redis.call('GET', tag .. 'unique:' .. body[10])
    if holder then answer = holder else holders[body[10]] = id end
  end
  if not answer then
    local due = body[5]
    if body[4] > 0 then due = now + body[4] end
    local held = paused_tasks[body[1]] and tag .. 'held:' .. body[1]
    if held then
      local kind = redis.call('TYPE', held).ok
      if kind ~= 'none' and kind ~= 'zset' then
        return redis.error_reply('QKIND ' .. held .. ' is a ' .. kind .. ', not a zset')
      end
    end
    answer = due > now and 's' or 'p'
    fresh[#fresh + 1] = { id, packed, body, due > now and due or now, answer, held }
  end
  answers[#answers + 1] = answer
end
if #fresh == 0 then return answers end
if max_size > 0 then
  local size = tonumber(meta[7] or 0)
  for i = 1, 4 do size = size + redis.call('ZCARD', KEYS[i]) end
  if size + #fresh > max_size then
    return redis.error_reply('QFULL ' .. size .. ' of ' .. max_size)
  end
end

local counts, moves, held_count, sooner = {}, {}, 0, false
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
local seq = redis.call('HINCRBY', KEYS[5], 'seq', #fresh) - #fresh
for i = 1, #fresh do
  local id, packed, body, due, answer, held = unpack(fresh[i])
  local task, where = body[1], answer == 's' and 'scheduled' or 'pending'
  redis.call('SET', tag .. 'j:' .. id, '\147' .. cmsgpack.pack(now, due) .. packed)
  if body[10] ~= '' then redis.call('SET', tag .. 'unique:' .. body[10], id) end
  moves[where .. ':' .. task] = (moves[where .. ':' .. task] or 0) + 1
  counts[task] = (counts[task] or 0) + 1
  if answer == 's' then
    redis.call('ZADD', KEYS[2], due, id)
    if not first or due < tonumber(first) then sooner = true end
  else
    seq = seq + 1
    if held then held_count = held_count + 1 end
    redis.call('ZADD', held or KEYS[1], (9 - body[3]) * 4398046511104 + seq, id)
  end
end

for field, by in pairs(moves) do redis.call('HINCRBY', KEYS[7], field, by) end
if held_count > 0 then redis.call('HINCRBY', KEYS[5], 'held', held_count) end
redis.call('HINCRBY', KEYS[6], 'enqueued', #fresh)
for _, key in ipairs({ minute_key, hour_key }) do
  redis.call('HINCRBY', key, 'in', #fresh)
  for task, by in pairs(counts) do
    local index = redis.call('HGET', KEYS[7], 'index:' .. task)
    if not index then
      index = redis.call('HINCRBY', KEYS[5], 'known_tasks', 1)
      redis.call('HSET', KEYS[7], 'index:' .. task, index)
    end
    redis.call('HINCRBY', key, 'in:' .. (tonumber(index) > 40 and 'other' or task), by)
  end
  redis.call('EXPIRE', key, key == minute_key and 10800 or 172800)
end

-- The marker stands exactly if a job could be started now; an earlier due time sets it too.
local open = not meta[1] and redis.call('ZCARD', KEYS[1]) > 0
if open and meta[2] then open = redis.call('ZCARD', KEYS[4]) < tonumber(meta[2]) end
if open and meta[3] then
  local rate = tonumber(meta[3])
  local tokens = tonumber(meta[4] or 1) + (now - tonumber(meta[5] or now)) * rate / 1000
  open = tokens >= 1
end
if open or sooner then
  redis.call('ZADD', KEYS[8], 0, '1')
else
  redis.call('DEL', KEYS[8])
end
return answers
