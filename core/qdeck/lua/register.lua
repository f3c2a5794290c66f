-- Promise: records that a worker lives, by the server's clock, and forgets those gone for a day.
-- KEYS: workers queues
-- ARGV: tag, worker, "1" while it lives or "0" when it leaves, then field and value pairs; the
--       field "queue" adds to the queues instead
-- Returns: now_ms

local tag, worker = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZCARD', KEYS[1])
redis.call('SCARD', KEYS[2])
local key = tag .. 'w:' .. worker
if ARGV[3] == '0' then
  redis.call('ZREM', KEYS[1], worker)
  redis.call('DEL', key, tag .. 'ctl:' .. worker)
  return now
end
redis.call('PERSIST', KEYS[1])
local fields, queues = { 'beat', now }, {}
for i = 4, #ARGV, 2 do
  if ARGV[i] == 'queue' then
    queues[#queues + 1] = ARGV[i + 1]
  else
    fields[#fields + 1] = ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
end
if #queues > 0 then redis.call('SADD', KEYS[2], unpack(queues)) end
redis.call('HSET', key, unpack(fields))
redis.call('EXPIRE', key, 86400)
redis.call('ZADD', KEYS[1], now, worker)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400000)
return now
