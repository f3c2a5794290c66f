-- Promise: stores the newest progress of runs that still own their job.
-- KEYS: lease
-- ARGV: tag, then id, fence, percent ("": unchanged) and message ("": unchanged) of each run
-- Returns: how many were stored

local tag, stored = ARGV[1], 0
for i = 2, #ARGV, 4 do
  local key = tag .. 'r:' .. ARGV[i]
  if redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'fence') == ARGV[i + 1]
    and redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    if ARGV[i + 2] ~= '' then redis.call('HSET', key, 'progress', ARGV[i + 2]) end
    if ARGV[i + 3] ~= '' then redis.call('HSET', key, 'message', ARGV[i + 3]) end
    stored = stored + 1
  end
end
return stored
