-- Promise: starts a draft that has not expired, once; a repeat by the same actor changes nothing.
-- KEYS: ops
-- ARGV: tag, operation, actor
-- Returns: state, total, done, ok, skipped; error QSTATE where it is gone or somebody else's

local key = ARGV[1] .. 'op:' .. ARGV[2]
local op = redis.call('HMGET', key, 'state', 'total', 'done', 'ok', 'skipped', 'starter')
redis.call('ZCARD', KEYS[1])
if not op[1] then return redis.error_reply('QSTATE expired') end
if op[1] == 'draft' then
  redis.call('PERSIST', key)
  redis.call('PERSIST', key .. ':ids')
  op[1] = tonumber(op[2]) > 0 and 'running' or 'done'
  redis.call('HSET', key, 'state', op[1], 'starter', ARGV[3])
  if op[1] == 'done' then redis.call('EXPIRE', key, 604800) end
elseif op[6] ~= ARGV[3] then
  return redis.error_reply('QSTATE started by ' .. (op[6] or '?'))
end
return { op[1], tonumber(op[2]), tonumber(op[3]), tonumber(op[4]), tonumber(op[5]) }
