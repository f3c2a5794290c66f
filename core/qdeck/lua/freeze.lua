-- Promise: adds up to `max` ids to a draft, from a set of the queue or as named, and dates it.
-- KEYS: source ops
-- ARGV: tag, operation, verb, actor, from rank, max, life in s, what it is about (a digest), the
--       verb's argument, changes to payloads (JSON; "" for none), states that they are in, then ids
--       (none: take the source)
-- Returns: ids the draft holds, ids the source holds, ms at which the draft expires

local call = redis.call
local tag, operation, rank = ARGV[1], ARGV[2], tonumber(ARGV[5])
local max, life = tonumber(ARGV[6]), tonumber(ARGV[7])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local key = tag .. 'op:' .. operation
local frozen = key .. ':ids'
local names = { KEYS[1], KEYS[2], frozen, key }
for i = 1, 4 do
  local found, kind = call('TYPE', names[i]).ok, i == 4 and 'hash' or 'zset'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. names[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local state = call('HGET', key, 'state')
if state and state ~= 'draft' then return redis.error_reply('QSTATE ' .. state) end
local ids = {}
if #ARGV > 11 then
  for i = 12, #ARGV do ids[#ids + 1] = ARGV[i] end
else
  ids = call('ZRANGE', KEYS[1], rank, rank + max - 1)
end
local size = call('ZCARD', frozen)
local entries = {}
for i = 1, #ids do
  entries[2 * i - 1], entries[2 * i] = size + i, ids[i]
end

-- A bulk delete frees memory: it may be drafted when memory is full.
call('PERSIST', KEYS[2])
if not state then
  call('HSET', key, 'state', 'draft', 'verb', ARGV[3], 'actor', ARGV[4], 'created', now, 'done', 0,
    'ok', 0, 'skipped', 0, 'what', ARGV[8])
  if ARGV[9] ~= '' then call('HSET', key, 'arg', ARGV[9]) end
  if ARGV[10] ~= '' then call('HSET', key, 'changes', ARGV[10]) end
  call('ZADD', KEYS[2], now, operation)
  call('ZREMRANGEBYRANK', KEYS[2], 0, -1001)
end
if #entries > 0 then call('ZADD', frozen, 'NX', unpack(entries)) end
size = call('ZCARD', frozen)
call('HSET', key, 'states', ARGV[11], 'total', size, 'expires', now + life * 1000)
call('EXPIRE', key, life)
call('EXPIRE', frozen, life)
return { size, call('ZCARD', KEYS[1]), now + life * 1000 }
