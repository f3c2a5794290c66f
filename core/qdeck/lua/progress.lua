-- Promise: stores the newest progress of runs that still own their job.
-- KEYS: lease
-- ARGV: tag, then id, fence, percent ("": unchanged) and message ("": unchanged) of each run
-- Returns: how many were stored

local call, tag, stored = redis.call, ARGV[1], 0
local found = call('TYPE', KEYS[1]).ok
if found ~= 'none' and found ~= 'zset' then
  return redis.error_reply('QKIND ' .. KEYS[1] .. ' is a ' .. found .. ', not a zset')
end
call('PERSIST', KEYS[1])
for i = 2, #ARGV, 4 do
  local key, percent, message = tag .. 'r:' .. ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local fine, run = pcall(call, 'HGET', key, 'run')
  local fence = string.match(fine and run or '', '^%d+')
  if fence == ARGV[i + 1] and call('ZSCORE', KEYS[1], ARGV[i]) then
    if percent ~= '' then call('HSET', key, 'progress', percent) end
    if message ~= '' then call('HSET', key, 'message', message) end
    stored = stored + 1
  end
end
return stored
