-- Promise: fires slots of one schedule, each once: makes their jobs, all or none, and moves the next
--          slot on; only if schedule and next slot are still as the caller saw them, and each slot
--          is due by the clock of the server.
-- KEYS: ready scheduled retrying lease completed cancelled dead meta totals tasks wake cron cron:due
--       audit
-- ARGV: tag, name, revision, due_ms that the caller saw ("": fire besides, the plan stays), next_ms
--       (0: none), max_size (0: none), slots missed and given up, the last of them in ms, "1" to
--       drop slots while the last job is unfinished, ms to look again after where nothing can be
--       fired now (else 0), actor and verb for the record (verb "": none), the name under which ids
--       of jobs are kept for a day that this makes ("": none), then slot_ms (0: none), id and body
--       (see enqueue.lua) of each job, at most 100
--       A schedule is msgpack [revision, enabled, until_ms, next_ms, last_ms, last job, spec,
--       declared, edited_ms, edited by, history]; enabled 0 and until_ms: it wakes then; history,
--       the newest last, is of [slot_ms, id, late_ms, word, count]; word "": ask the job
-- Returns: now_ms, "fired", "moved" (it changed), "early" or "unreadable", and for each slot "p", "s",
--          "=" (known), "o" (the last job is unfinished) or "u" (its unique key is held); error
--          QFULL, QBODY or QKIND, and then nothing was written

local call = redis.call
local tag, name, max_size = ARGV[1], ARGV[2], tonumber(ARGV[6])
local meta_key, totals_key, tasks_key, wake = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local cron, due_key = KEYS[12], KEYS[13]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute_key = tag .. 'm:' .. math.floor(now / 60000)
local hour_key = tag .. 'h:' .. math.floor(now / 3600000)

local names, kinds = { unpack(KEYS) }, { [8] = 'hash', [9] = 'hash', [10] = 'hash', [12] = 'hash',
  [14] = 'stream', [15] = 'hash', [16] = 'hash' }
local op_key = tag .. 'op:' .. ARGV[13]
local made = op_key .. ':ids'
names[15], names[16] = minute_key, hour_key
if ARGV[13] ~= '' then names[17] = made end
for i = 1, #names do
  local found, kind = call('TYPE', names[i]).ok, kinds[i] or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
-- With: bounded
local meta = call('HMGET', meta_key, 'paused', 'limit', 'rate', 'tokens', 'tokens_at',
  'paused_tasks', 'held', 'cron_at', 'cron_late')
local paused_tasks = {}
for task in string.gmatch(meta[6] or '', '[^\n]+') do paused_tasks[task] = true end

-- When workers have to look next stands in `cron_at`; what is earlier than they know wakes one.
local function plan(at)
  if at > 0 then call('ZADD', due_key, at, name) else call('ZREM', due_key, name) end
  local first = bounded(call('ZRANGE', due_key, 0, 0, 'WITHSCORES')[2])
  if first then
    call('HSET', meta_key, 'cron_at', string.format('%.0f', first))
    if first < bounded(meta[8], 1e15) then call('ZADD', wake, 1, '1') end
  else
    call('HDEL', meta_key, 'cron_at')
  end
end

local fine, row = pcall(cmsgpack.unpack, call('HGET', cron, name) or '')
fine = fine and type(row) == 'table' and type(row[6]) == 'string' and type(row[11]) == 'table'
for i = 1, 5 do fine = fine and type(row[i]) == 'number' end
if not fine then
  -- It stays to be looked at, and is in nobody's way.
  call('PERSIST', meta_key)
  plan(0)
  return { now, 'unreadable' }
end
local seen, next_ms, besides = bounded(ARGV[4]), tonumber(ARGV[5]), ARGV[4] == ''
local missed, missed_last, wait = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[10])
if row[1] ~= tonumber(ARGV[3]) or not besides and row[4] ~= seen then return { now, 'moved' } end
local asleep = row[2] == 0 and row[3] == 0
if not besides and (asleep or row[4] > now) then
  -- Workers are told once more when to look.
  call('PERSIST', meta_key)
  plan(asleep and 0 or row[4])
  return { now, asleep and 'moved' or 'early' }
end
if wait > 0 then
  call('PERSIST', meta_key)
  plan(now + wait)
  return { now, 'fired' }
end

local function decode(packed)
  local readable, body = pcall(cmsgpack.unpack, packed)
  if not readable or type(body) ~= 'table' or type(body[1]) ~= 'string'
    or type(body[2]) ~= 'string' or type(body[10]) ~= 'string' then
    return
  end
  for i = 3, 11 do
    local number = body[i]
    if i ~= 10 and (type(number) ~= 'number' or not (number > -1e15 and number < 1e15)) then
      return
    end
  end
  return body[3] >= 0 and body[3] <= 9 and body or nil
end
local function ended(id)
  for i = 5, 7 do
    if call('ZSCORE', KEYS[i], id) then return ({ 'completed', 'cancelled', 'dead' })[i - 4] end
  end
  return call('EXISTS', tag .. 'j:' .. id) == 0 and 'gone' or nil
end
local function unfinished(id, task)
  if id == '' then return false end
  for i = 1, 4 do
    if call('ZSCORE', KEYS[i], id) then return true end
  end
  local readable, held = pcall(call, 'ZSCORE', tag .. 'held:' .. task, id)
  return readable and held and true or false
end
-- Keys of two tasks never meet. A holder that is finished or gone, and left its key without a time
-- to live, holds nothing.
local function is_held(digest, task)
  local key = tag .. 'unique:' .. digest
  local holder = call('MGET', key)[1]
  return holder and (call('PTTL', key) >= 0 or unfinished(holder, task))
end

-- Read and check all, then write all.
local answer, fresh, holders, kept, last_job = { now, 'fired' }, {}, {}, {}, row[6]
local handled, last = {}, row[5]
for i = 14, #ARGV, 3 do
  local slot, id, body = tonumber(ARGV[i]), ARGV[i + 1], decode(ARGV[i + 2])
  if not body or #ARGV > 313 then
    return redis.error_reply('QBODY a job of schedule ' .. name .. ' is not readable')
  end
  if slot > now then return { now, 'early' } end
  if not besides and slot <= last then return { now, 'moved' } end
  if not besides then last = slot end
  local held, word = paused_tasks[body[1]] and tag .. 'held:' .. body[1], nil
  if call('EXISTS', tag .. 'j:' .. id) == 1 then
    word = '='
  elseif ARGV[9] == '1' and (#fresh > 0 or unfinished(last_job, body[1])) then
    word = 'o'
  elseif body[10] ~= '' and (holders[body[10]] or is_held(body[10], body[1])) then
    word = 'u'
  end
  if not word then
    local due = body[4] > 0 and now + body[4] or body[5]
    word = due > now and 's' or 'p'
    if held and not kept[held] then
      local found = call('TYPE', held).ok
      if found ~= 'none' and found ~= 'zset' then
        return redis.error_reply('QKIND ' .. held .. ' is a ' .. found .. ', not a zset')
      end
      kept[held] = {}
    end
    if body[10] ~= '' then holders[body[10]] = id end
    fresh[#fresh + 1] = { id, ARGV[i + 2], body, math.max(due, now), word, held }
    last_job = id
  end
  handled[#handled + 1] = { slot, id, word }
  answer[#answer + 1] = word
end
local waiting, running = call('ZCARD', KEYS[1]), call('ZCARD', KEYS[4])
if max_size > 0 and #fresh > 0 then
  local size = bounded(meta[7], 0) + call('ZCARD', KEYS[2]) + call('ZCARD', KEYS[3])
  size = size + waiting + running
  if size + #fresh > max_size then
    return redis.error_reply('QFULL ' .. size .. ' of ' .. max_size)
  end
end

-- What became of earlier slots is asked of their jobs now, and kept.
local totals, history = {}, {}
local function count(field, by) totals[field] = (totals[field] or 0) + by end
for i = math.max(#row[11] - 19, 1), #row[11] do
  local entry = row[11][i]
  if type(entry) == 'table' and type(entry[2]) == 'string' and type(entry[4]) == 'string' then
    if entry[4] == '' and entry[2] ~= '' then
      entry[4] = ended(entry[2]) or ''
      if entry[4] ~= '' then count('cron:' .. entry[4], 1) end
    end
    history[#history + 1] = entry
  end
end
if missed > 0 then
  history[#history + 1] = { missed_last, '', now - missed_last, 'missed', missed }
  count('cron:missed', missed)
end
local why = { o = 'overlap', u = 'unique' }
for i = 1, #handled do
  local slot, id, word = unpack(handled[i])
  local taken = why[word]
  if not besides then
    history[#history + 1] = { slot, taken and '' or id, now - slot, taken or '', 1 }
  end
  if word ~= '=' then count('cron:' .. (taken or 'fired'), 1) end
end
while #history > 20 do table.remove(history, 1) end

-- Memory that is full refuses the first write, and then nothing was written.
if not besides then
  row[4], row[5] = next_ms, math.max(last, missed > 0 and missed_last or 0)
  if row[2] == 0 then row[2], row[3] = 1, 0 end
end
-- The schedules that were a minute late last time, the latest last, for who looks at everything.
local late, own = {}, ''
for line in string.gmatch(meta[9] or '', '[^\n]+') do
  if string.match(line, '^%d+ %d+ %a+ (.*)$') ~= name then late[#late + 1] = line end
end
if missed > 0 and now - missed_last >= 60000 then
  own = string.format('%.0f %.0f missed %s', missed_last, now - missed_last, name)
end
for i = 1, #handled do
  local behind = now - handled[i][1]
  if behind >= 60000 then
    own = string.format('%.0f %.0f late %s', handled[i][1], behind, name)
  end
end
if own ~= '' then late[#late + 1] = own end
late = table.concat(late, '\n', math.max(#late - 4, 1))
row[6], row[11] = last_job, history
call('HSET', cron, name, cmsgpack.pack(row))
if not besides then
  plan(next_ms)
  if late ~= (meta[9] or '') then call('HSET', meta_key, 'cron_late', late) end
end
for field, by in pairs(totals) do call('HINCRBY', totals_key, field, by) end
if ARGV[13] ~= '' and #fresh > 0 then
  for i = 1, #fresh do call('ZADD', made, 0, fresh[i][1]) end
  call('EXPIRE', made, 90000)
end
if ARGV[12] ~= '' then
  local sum = ARGV[13] == '' and #fresh or call('ZCARD', made)
  local undo = { ['do'] = 'made', name = ARGV[13], id = ARGV[13] == '' and fresh[1] and fresh[1][1] }
  local entry = { 'actor', ARGV[11], 'verb', ARGV[12], 'target', name, 'count', sum, 'outcome',
    sum > 0 and 'enqueued' or 'nothing to enqueue' }
  if sum > 0 then
    for _, part in ipairs({ 'until', string.format('%.0f', now + 86400000), 'undo',
      cjson.encode(undo) }) do entry[#entry + 1] = part end
  end
  call('XADD', KEYS[14], 'MAXLEN', '~', 10000, '*', unpack(entry))
end
if #fresh == 0 then return answer end

local first = bounded(call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
local seq = call('HINCRBY', meta_key, 'seq', #fresh) - #fresh
local moves, records, ready, scheduled, held_count, sooner = {}, {}, {}, {}, 0, false
for i = 1, #fresh do
  local id, packed, body, at, word, held = unpack(fresh[i])
  local field = (word == 's' and 'scheduled:' or 'pending:') .. body[1]
  records[#records + 1] = tag .. 'j:' .. id
  records[#records + 1] = '\147' .. cmsgpack.pack(now, at > now and at or 0) .. packed
  moves[field] = (moves[field] or 0) + 1
  local target, score = scheduled, at
  if word == 's' then
    sooner = sooner or not first or at < first
  else
    seq = seq + 1
    target, score = held and kept[held] or ready, (9 - body[3]) * 4398046511104 + seq
    if held then held_count = held_count + 1 end
  end
  target[#target + 1] = score
  target[#target + 1] = id
end
-- The marker stands if a job could be started now (score 0), or until a worker looked where
-- something is due earlier than workers know (score 1).
local pending = waiting + #ready / 2
local open, rate = not meta[1] and pending > 0, bounded(meta[3], 0)
if open and meta[2] then open = running < bounded(meta[2], 0) end
if open and rate > 0 then
  local gone = math.max(now - bounded(meta[5], now), 0)
  open = bounded(meta[4], 1) + gone * rate / 1000 >= 1
  sooner = sooner or not open and waiting == 0
end
if sooner then
  call('ZADD', wake, 1, '1')
elseif open then
  call('ZADD', wake, 'NX', 0, '1')
end
local task = fresh[1][3][1]
local index = bounded(call('HGET', tasks_key, 'index:' .. task))
if not index then
  index = call('HINCRBY', meta_key, 'known_tasks', 1)
  call('HSET', tasks_key, 'index:' .. task, index)
end
call('HINCRBY', minute_key, 'in', #fresh)
call('HINCRBY', hour_key, 'in:' .. (index > 40 and 'other' or task), #fresh)
call('EXPIRE', minute_key, 10800)
call('EXPIRE', hour_key, 3456000)
call('HINCRBY', meta_key, 'enqueued', #fresh)
for field, by in pairs(moves) do call('HINCRBY', tasks_key, field, by) end
if held_count > 0 then call('HINCRBY', meta_key, 'held', held_count) end
for digest, id in pairs(holders) do call('SET', tag .. 'unique:' .. digest, id) end
call('MSET', unpack(records))
if #ready > 0 then call('ZADD', KEYS[1], unpack(ready)) end
if #scheduled > 0 then call('ZADD', KEYS[2], unpack(scheduled)) end
for held, entries in pairs(kept) do
  if #entries > 0 then call('ZADD', held, unpack(entries)) end
end
return answer
