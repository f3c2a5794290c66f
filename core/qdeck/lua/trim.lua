-- Promise: deletes finished jobs beyond their age or number, the oldest first, at most `max`; a
--          job that finished within the last 30 s stays whatever their number.
-- KEYS: completed cancelled dead errors meta tasks logs
-- ARGV: tag, max, age_ms and number kept of completed, cancelled and dead, bytes of logs kept
-- Returns: how many were deleted, how many logs

local call = redis.call
local tag, max = ARGV[1], tonumber(ARGV[2])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 1, 7 do
  local kind = call('TYPE', KEYS[i]).ok
  local want = (i >= 4 and i <= 6) and 'hash' or 'zset'
  if kind ~= 'none' and kind ~= want then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. kind .. ', not a ' .. want)
  end
end
call('PERSIST', KEYS[5])
local words, moves, trimmed, freed = { 'completed', 'cancelled', 'dead' }, {}, 0, 0
for i = 1, 3 do
  local set, age, keep = KEYS[i], tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local over = math.min(call('ZCARD', set) - keep, max - trimmed)
  local ids = {}
  if over > 0 then
    local list = call('ZRANGE', set, 0, over - 1, 'WITHSCORES')
    for j = 1, #list, 2 do
      if tonumber(list[j + 1]) < now - 30000 then ids[#ids + 1] = list[j] end
    end
  end
  if #ids < max - trimmed then
    local old = call('ZRANGEBYSCORE', set, '-inf', now - age, 'LIMIT', #ids, max - trimmed - #ids)
    for j = 1, #old do ids[#ids + 1] = old[j] end
  end
  for j = 1, #ids do
    local id = ids[j]
    local key = tag .. 'r:' .. id
    local run = call('TYPE', key).ok == 'hash' and call('HMGET', key, 'task', 'logb', 'fp') or {}
    if run[3] and call('TYPE', tag .. 'errors:' .. run[3]).ok == 'zset' then
      call('ZREM', tag .. 'errors:' .. run[3], id)
      if call('ZCARD', tag .. 'errors:' .. run[3]) == 0 then call('HDEL', KEYS[4], run[3]) end
    end
    if run[2] then freed = freed + tonumber(run[2]) end
    local field = words[i] .. ':' .. (run[1] or '?')
    moves[field] = (moves[field] or 0) - 1
    call('UNLINK', tag .. 'j:' .. id, key, tag .. 'res:' .. id, tag .. 'err:' .. id,
      tag .. 'at:' .. id, tag .. 'log:' .. id)
  end
  if #ids > 0 then
    call('ZREM', set, unpack(ids))
    call('ZREM', KEYS[7], unpack(ids))
  end
  trimmed = trimmed + #ids
end
for field, by in pairs(moves) do call('HINCRBY', KEYS[6], field, by) end

-- Logs beyond the queue's budget, of the jobs that finished first.
local logs = 0
local bytes = tonumber(call('HGET', KEYS[5], 'log_bytes') or 0) - freed
if bytes > tonumber(ARGV[9]) then
  for _, id in ipairs(call('ZRANGE', KEYS[7], 0, max - 1)) do
    if bytes <= tonumber(ARGV[9]) then break end
    local key = tag .. 'r:' .. id
    if call('TYPE', key).ok == 'hash' then
      local own = tonumber(call('HGET', key, 'logb') or 0)
      call('HSET', key, 'logb', 0, 'logn', 0)
      bytes, freed = bytes - own, freed + own
    end
    call('UNLINK', tag .. 'log:' .. id)
    call('ZREM', KEYS[7], id)
    logs = logs + 1
  end
end
if freed ~= 0 then call('HINCRBY', KEYS[5], 'log_bytes', -freed) end
return { trimmed, logs }
