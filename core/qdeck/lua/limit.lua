-- Promise: sets how many jobs of a queue may run at once and start a second, over all workers.
-- KEYS: meta wake
-- ARGV: limit ("": none), rate a second ("": none)
-- Returns: 1

local call = redis.call
for i, kind in ipairs({ 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
call('PERSIST', KEYS[1])
for i, name in ipairs({ 'limit', 'rate' }) do
  if ARGV[i] ~= '' then
    call('HSET', KEYS[1], name, ARGV[i])
  else
    call('HDEL', KEYS[1], name)
  end
end
-- Whoever wakes looks again; its claim puts the marker right.
call('ZADD', KEYS[2], 1, '1')
return 1
