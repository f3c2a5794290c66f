-- Promise: deletes for good what a clear took away and whose time is over, the oldest copy first, at
--          most `max` jobs a call; unique keys that such jobs held are free.
-- KEYS: cleared meta logs
-- ARGV: tag, max
-- Returns: how many jobs were deleted, and how many copies ended

local call = redis.call
local tag, max = ARGV[1], tonumber(ARGV[2])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, kind in ipairs({ 'zset', 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end
local copy = call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
if not copy then return { 0, 0 } end
local trash, deleted, bytes, freed, emptied = tag .. 'trash:' .. copy, 0, 0, 0, true
local fine, sets = pcall(call, 'HGET', trash, 'sets')
sets = fine and math.min(tonumber(sets or 0) or 0, 2001) or 0

call('PERSIST', KEYS[2])
for i = 1, sets do
  local from, name = trash .. ':' .. i, call('HGET', trash, 'set:' .. i) or ''
  if string.sub(name, 1, 6) == 'errors' or call('TYPE', from).ok ~= 'zset' then
    call('UNLINK', from)
  else
    local ids = deleted < max and call('ZRANGE', from, 0, max - deleted - 1) or {}
    local gone, bodies = {}, {}
    for j = 1, #ids do
      -- Bodies are read in small steps, since one may hold 1 MiB.
      if j % 25 == 1 then
        if bytes >= 4194304 then break end
        local names = {}
        for at = j, math.min(j + 24, #ids) do names[#names + 1] = tag .. 'j:' .. ids[at] end
        bodies = call('MGET', unpack(names))
      end
      local id, packed = ids[j], bodies[(j - 1) % 25 + 1] or ''
      bytes = bytes + #packed
      local readable, record = pcall(cmsgpack.unpack, packed)
      local body = readable and type(record) == 'table' and record[3]
      local digest = type(body) == 'table' and type(body[10]) == 'string' and body[10] or ''
      local unique = tag .. 'unique:' .. digest
      if digest ~= '' and call('MGET', unique)[1] == id then call('DEL', unique) end
      local known, own = pcall(call, 'HGET', tag .. 'r:' .. id, 'logb')
      own = known and tonumber(own or 0) or 0
      if own > 0 and own < 1e15 then freed = freed + own end
      call('UNLINK', tag .. 'j:' .. id, tag .. 'r:' .. id, tag .. 'res:' .. id, tag .. 'err:' .. id,
        tag .. 'at:' .. id, tag .. 'log:' .. id, tag .. 'done:' .. id)
      gone[#gone + 1] = id
    end
    if #gone > 0 then
      call('ZREM', KEYS[3], unpack(gone))
      call('ZREM', from, unpack(gone))
      deleted = deleted + #gone
    end
    if call('EXISTS', from) == 1 then emptied = false end
  end
end
if freed > 0 then call('HINCRBY', KEYS[2], 'log_bytes', string.format('%.0f', -freed)) end
if emptied then
  call('UNLINK', trash)
  call('ZREM', KEYS[1], copy)
  call('HSET', KEYS[2], 'copies', table.concat(call('ZRANGE', KEYS[1], 0, -1), '\n'))
end
return { deleted, emptied and 1 or 0 }
