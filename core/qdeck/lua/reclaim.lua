-- Promise: for keys that jobs are held for: takes back the places of runs that are over, and gives
--          them to the first jobs held, in their order, which are ready then.
-- KEYS: ready lease meta wake
-- ARGV: tag, task in whose list of keys those stand that nobody waits for any more ("": look at
--       none), then at most 100 keys
-- Returns: how many keys left the list, how many jobs came out of hold, how many keys were looked at
--          to the end; error QKIND, and then nothing was written

local call = redis.call
local ready, lease, meta_key, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local tag, list = ARGV[1], ARGV[2]
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

-- With: bounded
-- With: clear_unless
local index = tag .. 'keyed:' .. list
clear_unless(index, 'zset')
local looked, removed, freed, done = 0, 0, 0, 0
for i = 3, #ARGV do
  local key = ARGV[i]
  local places, waits = tag .. 'key:' .. key, tag .. 'wait:' .. key
  clear_unless(places, 'set')
  clear_unless(waits, 'zset')
  -- The places of a key are its members that run, or that are ready with one.
  local ids = call('SMEMBERS', places)
  local alive = #ids
  for from = 1, #ids, 1000 do
    local part = { unpack(ids, from, math.min(from + 999, #ids)) }
    local ends, ranks = call('ZMSCORE', lease, unpack(part)), call('ZMSCORE', ready, unpack(part))
    for j = 1, #part do
      if not ends[j] and not ranks[j] then alive = alive - call('SREM', places, part[j]) end
    end
  end
  looked = looked + #ids
  -- Who was cancelled or resumed meanwhile waits no longer.
  local first, full, passed = call('ZRANGE', waits, 0, 0)[1], false, 0
  while first and passed < 1000 do
    local most, task, id = string.match(first, '^(%d+) (%S+) (.+)$')
    local held = tag .. 'held:' .. (task or '')
    local fine, score = pcall(call, 'ZSCORE', held, id or '')
    if fine and score then
      full = alive >= bounded(most, 1)
      if full then break end
      alive, freed = alive + call('SADD', places, id), freed + 1
      call('ZADD', ready, score, id)
      call('ZREM', held, id)
    end
    call('ZREM', waits, first)
    passed = passed + 1
    first = call('ZRANGE', waits, 0, 0)[1]
  end
  if not first and list ~= '' then removed = removed + call('ZREM', index, key) end
  looked = looked + passed
  if first and not full then break end
  done = done + 1
  if looked >= 2000 then break end
end
if freed > 0 then call('HINCRBY', meta_key, 'held', -freed) end
if removed > 0 and call('ZCARD', index) == 0 then
  local left = {}
  for task in string.gmatch(meta[6] or '', '[^\n]+') do
    if task ~= list then left[#left + 1] = task end
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
return { removed, freed, done }
