-- Promise: deletes finished jobs beyond their age or number, the oldest first, at most `max`; a
--          job that finished within the last 30 s stays whatever their number or the age.
-- KEYS: completed cancelled dead errors meta tasks logs
-- ARGV: tag, max, age_ms and number kept of completed, cancelled and dead, bytes of logs kept
-- Returns: how many were deleted, how many logs; error QKIND, and then nothing was written

local call = redis.call
local tag, max, budget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[9])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 1, 7 do
  local found, kind = call('TYPE', KEYS[i]).ok, (i >= 4 and i <= 6) and 'hash' or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
-- With: bounded

call('PERSIST', KEYS[5])
local words, moves, trimmed, freed = { 'completed', 'cancelled', 'dead' }, {}, 0, 0
for i = 1, 3 do
  local set, age = KEYS[i], math.max(tonumber(ARGV[2 * i + 1]), 30000)
  local over, ids = math.min(call('ZCARD', set) - tonumber(ARGV[2 * i + 2]), max - trimmed), {}
  if over > 0 then ids = call('ZRANGEBYSCORE', set, '-inf', now - 30000, 'LIMIT', 0, over) end
  if #ids < max - trimmed then
    local old = call('ZRANGEBYSCORE', set, '-inf', now - age, 'LIMIT', #ids, max - trimmed - #ids)
    for j = 1, #old do ids[#ids + 1] = old[j] end
  end
  for j = 1, #ids do
    local id = ids[j]
    local key = tag .. 'r:' .. id
    local fine, run = pcall(call, 'HMGET', key, 'run', 'logb', 'fp', 'task')
    if not fine then run = {} end
    if run[3] and call('TYPE', tag .. 'errors:' .. run[3]).ok == 'zset' then
      call('ZREM', tag .. 'errors:' .. run[3], id)
      if call('ZCARD', tag .. 'errors:' .. run[3]) == 0 then call('HDEL', KEYS[4], run[3]) end
    end
    freed = freed + bounded(run[2] or 0, 0)
    local field = words[i] .. ':' .. (run[4] or string.match(run[1] or '', '^%S+ %S+ %S+ %S+ %S+ (%S+)') or '?')
    moves[field] = (moves[field] or 0) - 1
    call('UNLINK', tag .. 'j:' .. id, key, tag .. 'res:' .. id, tag .. 'err:' .. id,
      tag .. 'at:' .. id, tag .. 'log:' .. id, tag .. 'done:' .. id)
  end
  if #ids > 0 then
    call('ZREM', set, unpack(ids))
    call('ZREM', KEYS[7], unpack(ids))
  end
  trimmed = trimmed + #ids
end
for field, by in pairs(moves) do call('HINCRBY', KEYS[6], field, by) end

-- Logs beyond the queue's budget, of the jobs that finished first.
local logs, gone = 0, {}
local bytes = bounded(call('HGET', KEYS[5], 'log_bytes') or 0, 0) - freed
if bytes > budget then
  for _, id in ipairs(call('ZRANGE', KEYS[7], 0, max - 1)) do
    if bytes <= budget then break end
    local key = tag .. 'r:' .. id
    local fine, own = pcall(call, 'HGET', key, 'logb')
    own = fine and bounded(own or 0, 0) or 0
    if own ~= 0 then call('HSET', key, 'logb', 0, 'logn', 0) end
    bytes, freed = bytes - own, freed + own
    call('UNLINK', tag .. 'log:' .. id)
    gone[#gone + 1] = id
  end
  if #gone > 0 then logs = call('ZREM', KEYS[7], unpack(gone)) end
end
if freed ~= 0 then call('HINCRBY', KEYS[5], 'log_bytes', string.format('%.0f', -freed)) end
return { trimmed, logs }
