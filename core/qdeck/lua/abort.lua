-- Promise: ends a running bulk operation where it is; what it has moved stays.
-- KEYS: audit
-- ARGV: tag, operation, actor
-- Returns: the state it was in ("gone": not on record), total, done, ok, skipped

local call = redis.call
local tag, operation, actor = ARGV[1], ARGV[2], ARGV[3]
local op_key = tag .. 'op:' .. operation
for name, kind in pairs({ [KEYS[1]] = 'stream', [op_key] = 'hash' }) do
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. name .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local op = call('HMGET', op_key, 'state', 'total', 'done', 'ok', 'skipped', 'verb', 'keep')
if op[1] == 'running' then
  local until_ms = string.format('%.0f', now + 86400000)
  call('HSET', op_key, 'state', 'aborted', 'finished', now, 'ender', actor, 'reason',
    'aborted by ' .. actor)
  call('UNLINK', op_key .. ':ids', op_key .. ':out')
  call('EXPIRE', op_key, 604800)
  local entry = { 'actor', actor, 'verb', 'abort', 'target',
    (op[6] or '?') .. ' of ' .. (op[2] or 0) .. ' jobs', 'count', op[4] or 0, 'outcome',
    'aborted after ' .. (op[3] or 0) }
  if op[7] and call('EXISTS', op_key .. ':copy') == 1 then
    call('HSET', op_key, 'undo_until', until_ms)
    call('EXPIRE', op_key .. ':copy', 86400)
    for _, part in ipairs({ 'undo', cjson.encode({ ['do'] = 'operation', id = operation }),
      'until', until_ms }) do entry[#entry + 1] = part end
  end
  call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', unpack(entry))
end
return { op[1] or 'gone', tonumber(op[2] or 0), tonumber(op[3] or 0), tonumber(op[4] or 0),
  tonumber(op[5] or 0) }
