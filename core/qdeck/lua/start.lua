-- Promise: starts a draft that has not expired, once; a repeat by the same actor changes nothing.
-- KEYS: ops
-- ARGV: tag, operation, actor
-- Returns: state, total, done, ok, skipped; error QSTATE where it is gone or somebody else's

local call = redis.call
local key = ARGV[1] .. 'op:' .. ARGV[2]
for name, kind in pairs({ [KEYS[1]] = 'zset', [key] = 'hash' }) do
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. name .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local op = call('HMGET', key, 'state', 'total', 'done', 'ok', 'skipped', 'starter')
if not op[1] then return redis.error_reply('QSTATE expired') end
if op[1] == 'draft' then
  call('PERSIST', key)
  call('PERSIST', key .. ':ids')
  op[1] = tonumber(op[2] or 0) > 0 and 'running' or 'done'
  call('HSET', key, 'state', op[1], 'starter', ARGV[3])
  if op[1] == 'done' then call('EXPIRE', key, 604800) end
elseif op[6] ~= ARGV[3] then
  return redis.error_reply('QSTATE started by ' .. (op[6] or '?'))
end
return { op[1], tonumber(op[2] or 0), tonumber(op[3] or 0), tonumber(op[4] or 0),
  tonumber(op[5] or 0) }
