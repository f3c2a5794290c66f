-- Promise: pauses or resumes a queue, or one task in it, on record; running jobs go on.
-- KEYS: ready lease meta wake audit
-- ARGV: tag, "1" to pause or "0" to resume, actor, task ("": the whole queue), target in words, id of
--       the entry that this takes back ("": none) and the mark that must still stand ("": any)
-- Returns: 1 where that changed something, 0 where it stood so already, -1 where another mark
--          stands; the id of the audit entry ("": none)

local call = redis.call
local ready, lease, meta_key = KEYS[1], KEYS[2], KEYS[3]
local on, actor, task = ARGV[2] == '1', ARGV[3], ARGV[4]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'zset', 'hash', 'zset', 'stream' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local own = task == '' and '' or ':' .. task
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark', 'paused' .. own, 'resumed' .. own)
if ARGV[7] ~= '' and (meta[8] or meta[9]) ~= ARGV[7] then return { -1, '' } end
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

local paused, was = without(meta[6])
local leaving = without(meta[7])
if task == '' then was = meta[1] and true or false end
local changed, entry = on ~= was and 1 or 0, ''
local mark = string.format('%.3f ', now + clock[2] % 1000 / 1000) .. actor
if changed == 1 then
  call('HSET', meta_key, (on and 'paused' or 'resumed') .. own, mark)
  call('HDEL', meta_key, (on and 'resumed' or 'paused') .. own)
  if task ~= '' then
    if on then
      paused[#paused + 1] = task
    else
      -- What was held goes back in steps, by whoever tends the queue.
      leaving[#leaving + 1] = task
    end
    store('paused_tasks', paused)
    store('unpark', leaving)
  end
  entry = call('XADD', KEYS[5], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb',
    on and 'pause' or 'resume', 'target', ARGV[5], 'count', 1, 'outcome', on and 'paused' or 'resumed',
    'until', string.format('%.0f', now + 86400000), 'of', ARGV[6], 'undo',
    cjson.encode({ ['do'] = 'pause', on = on and 0 or 1, task = task, mark = mark }))
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
return { changed, entry }
