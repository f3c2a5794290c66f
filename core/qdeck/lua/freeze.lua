-- Promise: adds up to `max` ids to a draft, from a set of the queue or as named, and dates it.
-- KEYS: source ops
-- ARGV: tag, operation, verb, actor, from rank, max, life in s, then ids (none: take the source)
-- Returns: ids the draft holds, ids the source holds, ms at which the draft expires

local tag, operation, max = ARGV[1], ARGV[2], tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local key = tag .. 'op:' .. operation
local frozen, life = key .. ':ids', tonumber(ARGV[7])
local state = redis.call('HGET', key, 'state')
if state and state ~= 'draft' then return redis.error_reply('QSTATE ' .. state) end
local ids = {}
if #ARGV > 7 then
  for i = 8, #ARGV do ids[#ids + 1] = ARGV[i] end
else
  ids = redis.call('ZRANGE', KEYS[1], ARGV[5], tonumber(ARGV[5]) + max - 1)
end
local size = redis.call('ZCARD', frozen)
local entries = {}
for i = 1, #ids do
  entries[#entries + 1] = size + i
  entries[#entries + 1] = ids[i]
end
if not state then
  redis.call('HSET', key, 'state', 'draft', 'verb', ARGV[3], 'actor', ARGV[4], 'created', now,
    'done', 0, 'ok', 0, 'skipped', 0)
  redis.call('ZADD', KEYS[2], now, operation)
end
if #entries > 0 then redis.call('ZADD', frozen, 'NX', unpack(entries)) end
size = redis.call('ZCARD', frozen)
redis.call('HSET', key, 'total', size, 'expires', now + life * 1000)
redis.call('EXPIRE', key, life)
redis.call('EXPIRE', frozen, life)
return { size, redis.call('ZCARD', KEYS[1]), now + life * 1000 }
