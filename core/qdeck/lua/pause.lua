-- Promise: pauses or resumes a queue, or one task in it; running jobs go on.
-- KEYS: ready lease meta wake
-- ARGV: tag, "1" to pause or "0" to resume, actor, task ("": the whole queue)
-- Returns: 1 where that changed something, else 0

local call = redis.call
local ready, lease, meta_key = KEYS[1], KEYS[2], KEYS[3]
local on, actor, task = ARGV[2] == '1', ARGV[3], ARGV[4]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'zset', 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark')
call('PERSIST', meta_key)

local function without(list)
  local left, found = {}, false
  for name in string.gmatch(list or '', '[^\n]+') do
    if name == task then found = true else left[#left + 1] = name end
  end
  return left, found
end
local function store(field, list)
  if #list > 0 then
    call('HSET', meta_key, field, table.concat(list, '\n'))
  else
    call('HDEL', meta_key, field)
  end
end

local changed = 0
local mark = string.format('%.0f ', now) .. actor
if task == '' then
  changed = (on ~= (meta[1] and true or false)) and 1 or 0
  if changed == 1 and on then call('HSET', meta_key, 'paused', mark) end
  if changed == 1 and not on then call('HDEL', meta_key, 'paused') end
else
  local paused, was = without(meta[6])
  local leaving = without(meta[7])
  changed = (on ~= was) and 1 or 0
  if changed == 1 and on then
    paused[#paused + 1] = task
    call('HSET', meta_key, 'paused:' .. task, mark)
  elseif changed == 1 then
    -- What was held goes back in steps, by whoever tends the queue.
    leaving[#leaving + 1] = task
    call('HDEL', meta_key, 'paused:' .. task)
  end
  if changed == 1 then
    store('paused_tasks', paused)
    store('unpark', leaving)
  end
end

-- The marker stands exactly if a job could be started now (score 0), or until a worker looked
-- (score 1): who resumes has jobs taken out of hold, or waits for a token.
local open = call('HEXISTS', meta_key, 'paused') == 0 and call('ZCARD', ready) > 0
if open and meta[2] then open = call('ZCARD', lease) < (tonumber(meta[2]) or 0) end
local rate = tonumber(meta[3] or 0) or 0
if open and rate > 0 then
  local gone = math.max(now - (tonumber(meta[5] or now) or now), 0)
  open = (tonumber(meta[4] or 1) or 1) + gone * rate / 1000 >= 1
end
if not on and changed == 1 then
  call('ZADD', KEYS[4], 1, '1')
elseif open then
  call('ZADD', KEYS[4], 'NX', 0, '1')
else
  call('ZREMRANGEBYSCORE', KEYS[4], 0, 0)
end
return changed
