-- Promise: adds the counters of one hour that is over to those of all time, each hour once.
-- KEYS: life
-- ARGV: tag, hours that are looked at at most
-- Returns: 1 to call again at once, else 0; error QKIND, and then nothing was written

local call = redis.call
local life, tag, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local found = call('TYPE', life).ok
if found ~= 'none' and found ~= 'hash' then
  return redis.error_reply('QKIND ' .. life .. ' is a ' .. found .. ', not a hash')
end
local this = math.floor(call('TIME')[1] / 3600)
-- Hours are kept for 40 days until they are added, so that no older one is left.
local oldest = this - 961
local hour = tonumber(call('HGET', life, 'folded') or oldest) or oldest
if hour < oldest or hour >= this then hour = oldest end
local fields, names = {}, {}
for i = 1, math.min(most, this - 1 - hour) do names[i] = tag .. 'h:' .. hour + i end
if #names > 0 and call('EXISTS', unpack(names)) == 0 then hour, names = hour + #names, {} end
for _, key in ipairs(names) do
  hour = hour + 1
  if call('TYPE', key).ok == 'hash' then
    fields = call('HGETALL', key)
    break
  end
end

-- PERSIST is allowed when memory is full, and so is what follows it in this script.
call('PERSIST', life)
for i = 1, #fields, 2 do
  local by = tonumber(fields[i + 1])
  if by and by > 0 and by < 1e15 then
    call('HINCRBY', life, fields[i], string.format('%.0f', by))
  end
end
if #fields > 0 then call('EXPIRE', tag .. 'h:' .. hour, 172800) end
call('HSET', life, 'folded', hour)
return hour + 1 < this and 1 or 0
