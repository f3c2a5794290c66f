-- Promise: takes all jobs of one state out of their sets into a copy, which keeps their order and
--          the counts of their tasks; the bodies stay. The work does not grow with the jobs.
-- KEYS: ready lease source tasks meta wake cleared audit errors
-- ARGV: tag, state, actor, copy, target in words, ms to keep it
-- Returns: how many jobs, and the id of the audit entry ("": there were none); error QBODY where
--          100 copies are kept, or the state is spread over more than 2,000 sets

local call = redis.call
local tag, state, actor, copy = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local until_ms = string.format('%.0f', now + tonumber(ARGV[6]))
local kinds = { 'zset', 'zset', 'zset', 'hash', 'hash', 'zset', 'zset', 'stream', 'hash' }
for i = 1, 9 do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kinds[i] then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kinds[i])
  end
end
if call('ZCARD', KEYS[7]) >= 100 then
  return redis.error_reply('QBODY 100 copies of cleared jobs are kept in this queue; restore one '
    .. 'or wait for the oldest to go')
end
local meta = call('HMGET', KEYS[5], 'paused_tasks', 'unpark', 'keyed')
local names, job_sets = { KEYS[3] }, 1
if state == 'pending' then
  local seen = {}
  local tasks = (meta[1] or '') .. '\n' .. (meta[2] or '') .. '\n' .. (meta[3] or '')
  for task in string.gmatch(tasks, '[^\n]+') do
    if not seen[task] then names[#names + 1] = tag .. 'held:' .. task end
    seen[task] = true
  end
  job_sets = #names
elseif state == 'dead' then
  for _, fingerprint in ipairs(call('HKEYS', KEYS[9])) do
    names[#names + 1] = tag .. 'errors:' .. fingerprint
  end
  names[#names + 1] = KEYS[9]
end
if #names > 2000 then
  return redis.error_reply('QBODY the ' .. state .. ' jobs stand in ' .. #names .. ' sets; delete '
    .. 'them group by group')
end
local total, held, taken, taken_jobs = 0, 0, {}, 0
for i = 1, #names do
  local kind = call('TYPE', names[i]).ok
  if kind == 'zset' or kind == 'hash' and i > job_sets then
    taken[#taken + 1] = names[i]
    if i <= job_sets then
      local size = call('ZCARD', names[i])
      total, taken_jobs = total + size, #taken
      if i > 1 then held = held + size end
    end
  end
end
if total == 0 then return { 0, '' } end
local counts, fields = {}, call('HGETALL', KEYS[4])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, #state + 1) == state .. ':' then
    counts[#counts + 1], counts[#counts + 2] = fields[i], fields[i + 1]
  end
end

call('PERSIST', KEYS[5])
local trash = tag .. 'trash:' .. copy
call('HSET', trash, 'state', state, 'actor', actor, 'at', now, 'until', until_ms, 'total', total,
  'sets', #taken, 'job_sets', taken_jobs)
for i = 1, #taken do call('HSET', trash, 'set:' .. i, string.sub(taken[i], #tag + 1)) end
for i = 1, #counts, 2 do
  call('HSET', trash, 'count:' .. counts[i], counts[i + 1])
  call('HDEL', KEYS[4], counts[i])
end
if held > 0 then call('HINCRBY', KEYS[5], 'held', -held) end
call('ZADD', KEYS[7], until_ms, copy)
-- Whoever finds that a cleared job holds a unique key looks there.
call('HSET', KEYS[5], 'copies', table.concat(call('ZRANGE', KEYS[7], 0, -1), '\n'))
local entry = call('XADD', KEYS[8], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'clear',
  'target', ARGV[5], 'count', total, 'outcome', 'cleared', 'until', until_ms, 'undo',
  cjson.encode({ ['do'] = 'restore', copy = copy }))
for i = 1, #taken do call('RENAME', taken[i], trash .. ':' .. i) end
-- Nothing is ready now, unless it never was what was taken.
if call('ZCARD', KEYS[1]) == 0 then call('ZREMRANGEBYSCORE', KEYS[6], 0, 0) end
return { total, entry }
