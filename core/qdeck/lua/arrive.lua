-- Promise: forgets a job that has arrived in another queue, unless it is on no way, or on another.
-- KEYS: moving
-- ARGV: tag, id, the way that it was on
-- Returns: 1 for who does so first, else 0

local call = redis.call
local tag, id = ARGV[1], ARGV[2]
if call('HGET', KEYS[1], id) ~= ARGV[3] then return 0 end
call('UNLINK', tag .. 'j:' .. id, tag .. 'r:' .. id)
call('HDEL', KEYS[1], id)
return 1
