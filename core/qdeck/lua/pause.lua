-- Promise: pauses or resumes a queue, or one task in it, on record; running jobs go on. Where nearly
--          all that is ready, or held, is of that task, and more than 500 jobs, they change places at
--          once, whatever their number; else in steps, by whoever claims or tends the queue.
-- KEYS: ready lease meta wake audit tasks
-- ARGV: tag, "1" to pause or "0" to resume, actor, task ("": the whole queue), target in words, id of
--       the entry that this takes back ("": none) and the mark that must still stand ("": any)
-- Returns: 1 where that changed something, 0 where it stood so already, -1 where another mark
--          stands; the id of the audit entry ("": none)

local call = redis.call
local tag, ready, lease, meta_key = ARGV[1], KEYS[1], KEYS[2], KEYS[3]
local on, actor, task = ARGV[2] == '1', ARGV[3], ARGV[4]
local held = tag .. 'held:' .. task
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'zset', 'hash', 'zset', 'stream', 'hash' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local own = task == '' and '' or ':' .. task
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'unpark', 'paused' .. own, 'resumed' .. own, 'keyed')
if ARGV[7] ~= '' and (meta[8] or meta[9]) ~= ARGV[7] then return { -1, '' } end

local function without(list)
  local left, found = {}, false
  for name in string.gmatch(list or '', '[^\n]+') do
    if name == task then found = true else left[#left + 1] = name end
  end
  return left, found
end
local function card(key)
  local found = call('TYPE', key).ok
  return found == 'zset' and call('ZCARD', key) or found == 'none' and 0
end
-- Whether a record is of the task, as far as its first bytes tell.
local function is_of_task(packed)
  local shape, kind = string.byte(packed, 1, 2)
  local at = string.byte(packed, 11) == 207 and 20 or 12
  local body, size = string.byte(packed, at, at + 1)
  if shape ~= 147 or kind ~= 207 or body ~= 157 or not size then return false end
  local from = at + 2
  if size == 217 then size, from = (string.byte(packed, from) or 0) + 160, from + 1 end
  return size >= 160 and string.sub(packed, from, from + size - 161) == task
end
-- The other jobs among those that are ready, if they are few and stand first and last, and the
-- ready ones are many; as ZADD takes them.
local function others()
  local total, parked = call('ZCARD', ready), card(held)
  local mine = tonumber(call('HGET', KEYS[6], 'pending:' .. task) or '')
  if not mine or not parked or parked > 200 or total < 500 then return end
  local few, found, bytes = total - (mine - parked), {}, 0
  if few < 0 or few > 600 then return end
  local function look(from, to)
    while from <= to and bytes < 2097152 do
      -- Bodies are read in small steps where they may be large.
      local last = math.min(to, from + (bytes < 65536 and 99 or 24))
      local list, names = call('ZRANGE', ready, from, last, 'WITHSCORES'), {}
      for i = 1, #list, 2 do names[#names + 1] = tag .. 'j:' .. list[i] end
      local bodies = call('MGET', unpack(names))
      for i = 1, #names do
        local packed = bodies[i] or ''
        bytes = bytes + #packed
        if not is_of_task(packed) then
          found[#found + 1], found[#found + 2] = list[2 * i], list[2 * i - 1]
        end
      end
      from = last + 1
    end
  end
  look(0, few)
  look(total - few - 1, total - 1)
  for i = 1, 50 do
    local rank = few + 1 + math.floor((total - 2 * few - 2) * i / 51)
    look(rank, rank)
  end
  -- One more is one that stands elsewhere.
  return bytes < 2097152 and #found / 2 == few and found
end

call('PERSIST', meta_key)
local function store(field, list)
  if #list > 0 then
    call('HSET', meta_key, field, table.concat(list, '\n'))
  else
    call('HDEL', meta_key, field)
  end
end
local function join(list, to)
  if #list > 0 then call('ZADD', to, unpack(list)) end
end
local function turned(list)
  for i = 1, #list, 2 do list[i], list[i + 1] = list[i + 1], list[i] end
  return list
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
    local _, keyed = without(meta[10])
    if on then
      paused[#paused + 1] = task
      local rest = others()
      if rest then
        local mine = turned(call('ZRANGE', held, 0, -1, 'WITHSCORES'))
        call('HINCRBY', meta_key, 'held', call('ZCARD', ready) - #rest / 2)
        join(mine, ready)
        local ids = {}
        for i = 2, #rest, 2 do ids[#ids + 1] = rest[i] end
        if #ids > 0 then call('ZREM', ready, unpack(ids)) end
        call('RENAME', ready, held)
        join(rest, ready)
      end
    elseif not keyed and (card(held) or 0) >= 500 and call('ZCARD', ready) <= 200 then
      call('HINCRBY', meta_key, 'held', -call('ZCARD', held))
      join(turned(call('ZRANGE', ready, 0, -1, 'WITHSCORES')), held)
      call('RENAME', held, ready)
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
