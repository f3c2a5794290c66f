-- Promise: pauses or resumes a queue, or one task in it; running jobs go on.
-- KEYS: ready lease meta wake
-- ARGV: tag, "1" to pause or "0" to resume, actor, task ("": the whole queue)
-- Returns: 1 where that changed something, else 0

local call = redis.call
local ready, lease, meta_key = KEYS[1], KEYS[2], KEYS[3]
local on, actor, task = ARGV[2] == '1', ARGV[3], ARGV[4]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark')
call('ZCARD', ready)
call('ZCARD', lease)
call('ZCARD', KEYS[4])
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

-- The marker stands exactly if a job could be started now; a step of resuming sets it too.
local paused = call('HEXISTS', meta_key, 'paused') == 1
local open = not paused and call('ZCARD', ready) > 0
if open and meta[2] then open = call('ZCARD', lease) < tonumber(meta[2]) end
if open and meta[3] then
  local gone = math.max(now - tonumber(meta[5] or now), 0)
  open = tonumber(meta[4] or 1) + gone * tonumber(meta[3]) / 1000 >= 1
end
if open or not on then call('ZADD', KEYS[4], 0, '1') else call('DEL', KEYS[4]) end
return changed
