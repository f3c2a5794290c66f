-- Promise: grants a running bulk operation as many jobs as its rate, its stop rule and its canary
--          allow now, at most `max` each 10 ms, and ends it where they say so.
-- KEYS: audit
-- ARGV: tag, operation, max
-- Returns: state ("gone": not on record), total, done, ok, skipped, how many are granted, ms until
--          more may be; error QKIND, and then nothing was written

local call = redis.call
local tag, operation, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local op_key = tag .. 'op:' .. operation
local frozen, out, copy = op_key .. ':ids', op_key .. ':out', op_key .. ':copy'
local kinds = { [KEYS[1]] = 'stream', [op_key] = 'hash', [frozen] = 'zset', [out] = 'zset',
  [copy] = 'hash' }
for name, kind in pairs(kinds) do
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. name .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
-- With: bounded
local fields = { 'state', 'total', 'done', 'ok', 'skipped', 'verb', 'starter', 'rate', 'stop',
  'tokens', 'tokens_at', 'next', 'canary', 'canary_id', 'keep', 'resume', 'loose', 'ccompleted',
  'fretrying', 'fdead', 'fcancelled', 'udead', 'lpending', 'ldead', 'lcancelled' }
local op = {}
for i, value in ipairs(call('HMGET', op_key, unpack(fields))) do op[fields[i]] = value or nil end
local failed = 0
for i = 19, #fields do failed = failed + bounded(op[fields[i]], 0) end
local function answer(granted, wait)
  return { op.state or 'gone', bounded(op.total, 0), bounded(op.done, 0), bounded(op.ok, 0),
    bounded(op.skipped, 0), granted, wait }
end
if op.state ~= 'running' then return answer(0, 0) end
local later = bounded(op.next, 0) - now
if later > 0 and later <= 1000 then return answer(0, later) end
local ahead, wait = call('ZCARD', frozen), 10
local mine, state = unpack(op.canary_id
  and call('HMGET', tag .. 'r:' .. op.canary_id, 'op', 'state') or {})
local gone, stuck = {}, false
local unproven = call('ZRANGE', out, 0, 199, 'WITHSCORES')
for i = 1, #unproven, 2 do
  local id = unproven[i]
  local fine, run = pcall(call, 'HMGET', tag .. 'r:' .. id, 'op', 'state')
  local where = fine and run[1] == operation and (run[2] or 'running')
  if where ~= 'pending' and where ~= 'running' then gone[#gone + 1] = id end
  stuck = stuck or where == 'pending' and now - tonumber(unproven[i + 1]) > 3000
end

call('PERSIST', op_key)
local function finish(word, reason)
  op.state = word
  call('HSET', op_key, 'state', word, 'finished', now, 'reason', reason)
  call('UNLINK', frozen, out)
  call('EXPIRE', op_key, 604800)
  local entry = { 'actor', op.starter or '?', 'verb', op.verb or '?', 'target',
    bounded(op.total, 0) .. ' jobs', 'count', bounded(op.ok, 0), 'outcome', word .. ': ' .. reason }
  if op.keep and call('EXISTS', copy) == 1 then
    local until_ms = string.format('%.0f', now + 86400000)
    call('HSET', op_key, 'undo_until', until_ms)
    call('EXPIRE', copy, 86400)
    for _, part in ipairs({ 'undo', cjson.encode({ ['do'] = 'operation', id = operation }),
      'until', until_ms }) do entry[#entry + 1] = part end
  end
  call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', unpack(entry))
  return answer(0, 0)
end
if op.canary == 'waiting' and op.canary_id then
  if bounded(op.ccompleted, 0) > 0 then
    call('HSET', op_key, 'canary', 'ok')
    -- Whoever comes next resumes the task before the rest is let go.
    if op.resume then return answer(0, 10) end
  elseif failed > 0 then
    call('HSET', op_key, 'canary', 'failed')
    return finish('stopped', 'the canary failed')
  elseif mine ~= operation or state == 'dead' or state == 'cancelled' then
    call('HSET', op_key, 'canary', 'failed')
    return finish('stopped', 'somebody else changed the canary')
  else
    call('HSET', op_key, 'next', now + 100)
    return answer(0, 100)
  end
elseif op.canary == 'waiting' then
  most = 1
end
local stop, rate = bounded(op.stop, 0), bounded(op.rate, 0)
if stop > 0 then
  if failed >= stop then
    finish('stopped', failed .. ' new failures')
    if op.loose and op.keep and call('EXISTS', copy) == 1 then
      -- What nothing has started yet is taken back, and then it has stopped.
      op.state = 'undoing'
      call('HSET', op_key, 'state', 'undoing', 'then', 'stopped')
      call('HDEL', op_key, 'undo_until')
    end
    return answer(0, 0)
  end
  -- No more jobs are unproven than may still fail, unless nobody takes those that are.
  if #gone > 0 then call('ZREM', out, unpack(gone)) end
  local free = stop - failed - call('ZCARD', out)
  if stuck then
    call('HSET', op_key, 'loose', 1)
  elseif free < most then
    most, wait = math.max(free, 0), 50
  end
end
if ahead == 0 then return finish('done', 'all are started') end
if rate > 0 then
  local since = math.max(now - bounded(op.tokens_at, now), 0)
  local tokens = math.min(math.max(rate, 1), bounded(op.tokens, 1) + since * rate / 1000)
  if tokens < most then
    most = math.floor(tokens)
    wait = math.max(wait, math.ceil((most + 1 - tokens) * 1000 / rate))
  end
  call('HSET', op_key, 'tokens', tokens, 'tokens_at', now)
end
wait = math.min(wait, 1000)
call('HSET', op_key, 'grant', most, 'next', now + wait)
return answer(most, wait)
