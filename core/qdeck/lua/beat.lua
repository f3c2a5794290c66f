-- Promise: renews the leases of runs that still own their job and says which do not.
-- KEYS: lease meta
-- ARGV: tag, lease_ms, then id and fence of each run
-- Returns: for each run "1" (renewed), "x" (renewed, asked to cancel) or "0" (lost)

local tag, lease_ms = ARGV[1], tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local answers = {}
redis.call('ZCARD', KEYS[1])
redis.call('HGET', KEYS[2], 'seen')
redis.call('PERSIST', KEYS[2])
for i = 3, #ARGV, 2 do
  local key = tag .. 'r:' .. ARGV[i]
  local run = redis.call('TYPE', key).ok == 'hash'
    and redis.call('HMGET', key, 'fence', 'cancel') or {}
  local answer = '0'
  if run[1] == ARGV[i + 1] and redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], 'XX', now + lease_ms, ARGV[i])
    answer = run[2] and 'x' or '1'
  end
  answers[#answers + 1] = answer
end
redis.call('HSET', KEYS[2], 'seen', now)
return answers
