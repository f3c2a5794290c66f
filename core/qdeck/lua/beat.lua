-- Promise: renews the leases of runs that still own their job and says which do not.
-- KEYS: lease meta
-- ARGV: tag, lease_ms, then id and fence of each run
-- Returns: for each run "1" (renewed), "x" (renewed, asked to cancel) or "0" (lost)

local call = redis.call
local tag, lease_ms = ARGV[1], tonumber(ARGV[2])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'hash' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local meta = call('HMGET', KEYS[2], 'seen', 'reap_after')
local seen, after = tonumber(meta[1] or 0) or 0, tonumber(meta[2] or 0) or 0

call('PERSIST', KEYS[2])
-- The end of a lease carries a low fence as its fraction (see work.lua).
local answers, ends = {}, string.format('%.0f', now + lease_ms)
local marks = { '.125', '.25', '.375', '.5', '.625', '.75' }
for i = 3, #ARGV, 2 do
  local fine, run = pcall(call, 'HMGET', tag .. 'r:' .. ARGV[i], 'run', 'cancel')
  local answer, fence = '0', ARGV[i + 1]
  if fine and string.match(run[1] or '', '^%d+') == fence and call('ZSCORE', KEYS[1], ARGV[i]) then
    call('ZADD', KEYS[1], 'XX', ends .. (marks[tonumber(fence)] or ''), ARGV[i])
    answer = run[2] and 'x' or '1'
  end
  answers[#answers + 1] = answer
end
if after <= now and (seen < now - lease_ms / 2 or seen > now) and call('ZCARD', KEYS[1]) > 0 then
  -- Nobody reached the server for half a lease: others get a whole one to renew theirs.
  call('HSET', KEYS[2], 'seen', now, 'reap_after', now + lease_ms)
else
  call('HSET', KEYS[2], 'seen', now)
end
return answers
