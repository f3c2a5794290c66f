-- Promise: notes for jobs that wait for others that one of these has completed, each once, and
--          makes a job pending, or due after its delay, when all of them have.
-- KEYS: ready scheduled lease meta tasks wake
-- ARGV: tag, then for each the id of a job that waits and the name of one that has completed
-- Returns: for each, up to where 4 MiB of records were read, 1 where the job waits no longer, 0
--          where it still does, -1 where it did not wait; error QKIND, and then nothing was written

local call = redis.call
local ready, scheduled, meta_key, tasks_key, wake = KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6]
local tag, waiting = ARGV[1], 90000000000000
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'zset', 'zset', 'hash', 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'seq')
local paused = {}
for task in string.gmatch(meta[6] or '', '[^\n]+') do paused[task] = true end

-- With: bounded
-- With: clear_unless
-- Everything in a record that is used here is checked here.
local function decode(packed)
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  local links = type(body) == 'table' and body[13]
  if type(links) ~= 'table' or type(body[1]) ~= 'string' then return end
  for _, number in ipairs({ record[1] or '', record[2] or '', body[3] or '', body[4] or '',
    body[5] or '', links[3] or '' }) do
    if type(number) ~= 'number' or not bounded(number) then return end
  end
  return body, record
end
-- The record says when the job could start; what a producer wrote stays as it is.
local function date(key, packed, record, at)
  local head = '\147' .. cmsgpack.pack(record[1], record[2])
  if string.sub(packed, 1, #head) == head then
    call('SET', key, '\147' .. cmsgpack.pack(record[1], at) .. string.sub(packed, #head + 1))
  end
end

-- PERSIST is allowed when memory is full, and so is what follows it in this script.
call('PERSIST', meta_key)
local seq, bytes, held_count, sooner, released = bounded(meta[7], 0), 0, 0, false, false
local answers, known, moves = {}, {}, {}
for i = 2, #ARGV, 2 do
  if bytes >= 4194304 then break end
  local id, name = ARGV[i], ARGV[i + 1]
  local key, done, answer = tag .. 'j:' .. id, tag .. 'done:' .. id, -1
  if tonumber(call('ZSCORE', scheduled, id)) == waiting then
    answer = 0
    if not known[id] then
      local packed = call('MGET', key)[1]
      bytes = bytes + #(packed or '')
      known[id] = { packed, decode(packed) }
      clear_unless(done, 'set')
    end
    local packed, body, record = unpack(known[id], 1, 3)
    call('SADD', done, name)
    -- One that cannot be read waits no longer, and is dead for that reason when it is claimed.
    if not body or call('SCARD', done) >= body[13][3] then
      answer = 1
      local task, due = body and body[1] or '?', body and body[5] or 0
      if body and body[4] > 0 then due = now + body[4] end
      if body then date(key, packed, record, math.max(due, now)) end
      call('UNLINK', done)
      if due > now then
        call('ZADD', scheduled, due, id)
        sooner = true
      else
        seq = seq + 1
        local to = paused[task] and tag .. 'held:' .. task or ready
        if to ~= ready then
          clear_unless(to, 'zset')
          held_count = held_count + 1
        end
        moves['scheduled:' .. task] = (moves['scheduled:' .. task] or 0) - 1
        moves['pending:' .. task] = (moves['pending:' .. task] or 0) + 1
        released = released or to == ready
        call('ZADD', to, (9 - (body and body[3] or 4)) * 4398046511104 + seq, id)
        call('ZREM', scheduled, id)
      end
    end
  else
    call('UNLINK', done)
  end
  answers[#answers + 1] = answer
end
for field, by in pairs(moves) do call('HINCRBY', tasks_key, field, by) end
if next(moves) then call('HSET', meta_key, 'seq', string.format('%.0f', seq)) end
if held_count > 0 then call('HINCRBY', meta_key, 'held', held_count) end

-- The marker stands exactly if a job could be started now (score 0), or until a worker looked
-- (score 1) where something is due earlier than workers know.
local open, rate = not meta[1] and call('ZCARD', ready) > 0, bounded(meta[3], 0)
if open and meta[2] then open = call('ZCARD', KEYS[3]) < bounded(meta[2], 0) end
local ripe = true
if open and rate > 0 then
  local gone = math.max(now - bounded(meta[5], now), 0)
  ripe = bounded(meta[4], 1) + gone * rate / 1000 >= 1
end
if sooner or open and released and not ripe then
  call('ZADD', wake, 1, '1')
elseif open and ripe then
  call('ZADD', wake, 'NX', 0, '1')
end
return answers
