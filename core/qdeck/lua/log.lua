-- Promise: appends lines to the logs of jobs that were run, each log within its caps in lines and
--          bytes, and counts the bytes of the queue's logs.
-- KEYS: meta logs
-- ARGV: tag, max_lines, max_bytes, then msgpack [id, attempt, [level, age_ms, text, ...]] of each
-- Returns: how many lines were stored

local tag, max_lines, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stored, grown = 0, 0
redis.call('HGET', KEYS[1], 'log_bytes')
for i = 4, #ARGV do
  local part = cmsgpack.unpack(ARGV[i])
  local id, attempt, lines = part[1], part[2], part[3]
  local run, key = tag .. 'r:' .. id, tag .. 'log:' .. id
  local kind = redis.call('TYPE', key).ok
  if redis.call('TYPE', run).ok == 'hash' and (kind == 'none' or kind == 'stream') then
    local bytes = 0
    for j = 1, #lines, 3 do
      redis.call('XADD', key, '*', 'a', attempt, 'l', lines[j], 't',
        now - lines[j + 1], 'x', lines[j + 2])
      bytes = bytes + #lines[j + 2] + 40
      stored = stored + 1
    end
    local total = redis.call('HINCRBY', run, 'logb', bytes)
    local over = redis.call('XLEN', key) - max_lines
    while over > 0 or total > max_bytes do
      local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 100)
      if #oldest <= 1 then break end
      local keep
      for j = 1, #oldest - 1 do
        local gone = #oldest[j][2][8] + 40
        total, bytes, over = total - gone, bytes - gone, over - 1
        keep = oldest[j + 1][1]
        if total <= max_bytes and over <= 0 then break end
      end
      redis.call('XTRIM', key, 'MINID', keep)
      redis.call('HSET', run, 'logb', total)
    end
    redis.call('HSET', run, 'logn', redis.call('XLEN', key))
    grown = grown + bytes
  end
end
if grown ~= 0 then redis.call('HINCRBY', KEYS[1], 'log_bytes', grown) end
return stored
