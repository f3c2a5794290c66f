-- Promise: starts a draft that has not expired, once, on record; a repeat by the same actor changes
--          nothing, and the same about the same jobs is refused while it runs.
-- KEYS: ops audit
-- ARGV: tag, operation, actor, jobs a second ("": as fast as it goes), new failures to stop after
--       ("": none), "1" to try one job first, "1" to keep a copy for an undo, "1" to resume the
--       task after a good first job, "1" to start it although the same runs already
-- Returns: state, total, done, ok, skipped; error QSTATE where it is gone, somebody else's, or where
--          the same runs already

local call = redis.call
local tag, actor = ARGV[1], ARGV[3]
local key = tag .. 'op:' .. ARGV[2]
for name, kind in pairs({ [KEYS[1]] = 'zset', [KEYS[2]] = 'stream', [key] = 'hash' }) do
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. name .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local op = call('HMGET', key, 'state', 'total', 'done', 'ok', 'skipped', 'starter', 'what', 'verb')
if not op[1] then return redis.error_reply('QSTATE expired') end
if op[1] == 'draft' then
  for _, other in ipairs(call('ZRANGE', KEYS[1], 0, 99, 'REV')) do
    local name = tag .. 'op:' .. other
    local fine, found = pcall(call, 'HMGET', name, 'state', 'what', 'starter', 'done', 'total')
    if fine and found[1] == 'running' and found[2] == op[7] and op[7] and op[7] ~= ''
      and ARGV[9] ~= '1' then
      return redis.error_reply('QSTATE running already over the same jobs, started by '
        .. (found[3] or '?') .. ': ' .. (found[4] or 0) .. ' of ' .. (found[5] or 0))
    end
  end
  call('PERSIST', key)
  call('PERSIST', key .. ':ids')
  op[1] = tonumber(op[2] or 0) > 0 and 'running' or 'done'
  call('HSET', key, 'state', op[1], 'starter', actor, 'started', now)
  if ARGV[4] ~= '' then call('HSET', key, 'rate', ARGV[4], 'tokens', 1, 'tokens_at', now) end
  if ARGV[5] ~= '' then call('HSET', key, 'stop', ARGV[5]) end
  if ARGV[6] == '1' then call('HSET', key, 'canary', 'waiting') end
  if ARGV[7] == '1' then call('HSET', key, 'keep', 1) end
  if ARGV[8] == '1' then call('HSET', key, 'resume', 1) end
  if ARGV[4] ~= '' or ARGV[5] ~= '' or ARGV[6] == '1' then call('HSET', key, 'paced', 1) end
  if op[1] == 'done' then call('EXPIRE', key, 604800) end
  call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', op[8] or '?', 'target',
    (op[2] or 0) .. ' jobs', 'count', op[2] or 0, 'outcome', 'started')
elseif op[6] ~= actor then
  return redis.error_reply('QSTATE started by ' .. (op[6] or '?'))
end
return { op[1], tonumber(op[2] or 0), tonumber(op[3] or 0), tonumber(op[4] or 0),
  tonumber(op[5] or 0) }
