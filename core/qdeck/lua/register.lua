-- Promise: records that a worker lives, by the server's clock, and forgets those gone for a day.
-- KEYS: workers queues
-- ARGV: tag, worker, "1" while it lives or "0" when it leaves, then field and value pairs; the
--       field "queue" adds to the queues instead
-- Returns: now_ms

local tag, worker = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local key = tag .. 'w:' .. worker
if ARGV[3] == '0' then
  redis.call('ZREM', KEYS[1], worker)
  redis.call('DEL', key, tag .. 'ctl:' .. worker)
  return now
end
local fields, queues = { 'beat', now }, {}
for i = 4, #ARGV, 2 do
  if ARGV[i] == 'queue' then
    queues[#queues + 1] = ARGV[i + 1]
  else
    fields[#fields + 1] = ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
end
-- EXPIRE is allowed when memory is full, and so is what follows it in this script.
local known = redis.call('EXPIRE', key, 86400)
redis.call('ZADD', KEYS[1], now, worker)
if #queues > 0 then
  redis.call('SADD', KEYS[2], unpack(queues))
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400000)
end
redis.call('HSET', key, unpack(fields))
if known == 0 then redis.call('EXPIRE', key, 86400) end
return now
