-- Promise: sets how many jobs of a queue may run at once and start a second, over all workers.
-- KEYS: ready lease meta wake
-- ARGV: limit ("": none), rate a second ("": none)
-- Returns: 1

local call = redis.call
call('ZCARD', KEYS[1])
call('ZCARD', KEYS[2])
call('ZCARD', KEYS[4])
local names = { 'limit', 'rate' }
for i = 1, 2 do
  if ARGV[i] ~= '' then
    call('HSET', KEYS[3], names[i], ARGV[i])
  else
    call('HDEL', KEYS[3], names[i])
  end
end
-- Whoever wakes looks again; its claim puts the marker right.
call('ZADD', KEYS[4], 0, '1')
return 1
