-- Promise: for keys that jobs of a task are held for: forgets runs that are over, and takes the first
--          jobs out of hold for which there is room; looks at some thousand entries at most.
-- KEYS: ready lease meta wake
-- ARGV: tag, task, rank of the first key, how many keys at most
-- Returns: the rank to go on from (-1: none is left), how many came out of hold; error QKIND, and
--          then nothing was written

local call = redis.call
local ready, lease, meta_key, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local tag, rank, most_keys = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local keyed = tag .. 'keyed:' .. ARGV[2]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'zset', 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at', 'keyed')
call('PERSIST', meta_key)

local function bounded(value, default)
  local number = tonumber(value)
  return number and number > -1e15 and number < 1e15 and number or default
end
local function clear_unless(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then call('DEL', name) end
end
clear_unless(keyed, 'zset')
local keys = call('ZRANGE', keyed, rank, rank + most_keys - 1, 'WITHSCORES')
local looked, freed, complete = 0, 0, true
for i = 1, #keys, 2 do
  if looked > 2000 then
    complete = false
    break
  end
  local running, waits = tag .. 'key:' .. keys[i], tag .. 'wait:' .. keys[i]
  clear_unless(running, 'set')
  clear_unless(waits, 'zset')
  local ids = call('SRANDMEMBER', running, 1000)
  local alive, room = call('SCARD', running), 0
  local ends = #ids > 0 and call('ZMSCORE', lease, unpack(ids)) or {}
  for j = 1, #ids do
    if not ends[j] then alive = alive - call('SREM', running, ids[j]) end
  end
  looked, room = looked + #ids + 1, math.min(bounded(keys[i + 1], 1) - alive, 20)
  -- Who was cancelled or resumed meanwhile waits no longer.
  local passed = 0
  while room > 0 and passed < 500 do
    local first = call('ZPOPMIN', waits)[1]
    if not first then break end
    local task, id = string.match(first, '^(%S+) (.+)$')
    local held = tag .. 'held:' .. (task or '')
    local fine, score = pcall(call, 'ZSCORE', held, id or '')
    if fine and score then
      room, freed = room - 1, freed + 1
      call('ZADD', ready, score, id)
      call('ZREM', held, id)
    end
    passed = passed + 1
  end
  looked = looked + passed
  if call('ZCARD', waits) == 0 then
    call('ZREM', keyed, keys[i])
  elseif passed == 500 then
    complete = false
    break
  else
    rank = rank + 1
  end
end
if freed > 0 then call('HINCRBY', meta_key, 'held', -freed) end
if call('ZCARD', keyed) == 0 then
  local left = {}
  for task in string.gmatch(meta[6] or '', '[^\n]+') do
    if task ~= ARGV[2] then left[#left + 1] = task end
  end
  call('HSET', meta_key, 'keyed', table.concat(left, '\n'))
end

-- The marker stands exactly if a job could be started now (score 0), or until a worker looked
-- (score 1) where one waits for a token.
local open, rate, ripe = not meta[1] and call('ZCARD', ready) > 0, bounded(meta[3], 0), true
if open and meta[2] then open = call('ZCARD', lease) < bounded(meta[2], 0) end
if open and rate > 0 then
  local gone = math.max(now - bounded(meta[5], now), 0)
  ripe = bounded(meta[4], 1) + gone * rate / 1000 >= 1
end
if open and ripe then
  call('ZADD', wake, 'NX', 0, '1')
elseif open and freed > 0 then
  call('ZADD', wake, 1, '1')
end
if complete and #keys < 2 * most_keys then rank = -1 end
return { rank, freed }
