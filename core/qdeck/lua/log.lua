-- Promise: appends lines to the logs of jobs that were run, each log within its caps in lines and
--          bytes, and counts the bytes of the queue's logs.
-- KEYS: meta logs lease
-- ARGV: tag, max_lines, max_bytes, then msgpack [id, attempt, [level, age_ms, text, ...]] of each
-- Returns: how many lines were stored; error QKIND or QBODY, and then nothing was written

local call = redis.call
local tag, max_lines, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'hash', 'zset', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local parts = {}
for i = 4, #ARGV do
  local fine, part = pcall(cmsgpack.unpack, ARGV[i])
  local whole = fine and type(part) == 'table' and type(part[1]) == 'string'
    and type(part[2]) == 'number' and type(part[3]) == 'table' and #part[3] % 3 == 0
  for j = 1, whole and #part[3] or 0, 3 do
    whole = whole and type(part[3][j + 1]) == 'number' and type(part[3][j + 2]) == 'string'
  end
  if not whole then return redis.error_reply('QBODY a part of a log is not readable') end
  parts[#parts + 1] = part
end

local stored, grown = 0, 0
for i = 1, #parts do
  local id, attempt, lines = parts[i][1], parts[i][2], parts[i][3]
  local run, key = tag .. 'r:' .. id, tag .. 'log:' .. id
  local fine, have = pcall(call, 'HMGET', run, 'run', 'logb', 'state')
  local kind = call('TYPE', key).ok
  if fine and have[1] and (kind == 'none' or kind == 'stream') then
    local total, bytes = tonumber(have[2] or 0) or 0, 0
    for j = 1, #lines, 3 do
      call('XADD', key, '*', 'a', attempt, 'l', lines[j], 't', now - lines[j + 1], 'x', lines[j + 2])
      bytes = bytes + #lines[j + 2] + 40
      stored = stored + 1
    end
    total = total + bytes
    local over = call('XLEN', key) - max_lines
    while over > 0 or total > max_bytes do
      local oldest = call('XRANGE', key, '-', '+', 'COUNT', 100)
      if #oldest <= 1 then break end
      local keep
      for j = 1, #oldest - 1 do
        local gone = #(oldest[j][2][8] or '') + 40
        total, bytes, over = total - gone, bytes - gone, over - 1
        keep = oldest[j + 1][1]
        if total <= max_bytes and over <= 0 then break end
      end
      call('XTRIM', key, 'MINID', keep)
    end
    call('HSET', run, 'logb', total, 'logn', call('XLEN', key))
    -- Lines that come after the end of a job count against the budget too.
    local state = have[3] or not call('ZSCORE', KEYS[3], id) and 'completed'
    if state == 'completed' or state == 'cancelled' or state == 'dead' then
      call('ZADD', KEYS[2], 'NX', now, id)
    end
    grown = grown + bytes
  end
end
if grown ~= 0 then call('HINCRBY', KEYS[1], 'log_bytes', grown) end
return stored
