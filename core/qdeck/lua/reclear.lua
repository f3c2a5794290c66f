-- Promise: takes jobs that a restore brought back into their copy again, at most `max` a call, the
--          first in order first; one that is not where the restore put it stays where it is.
-- KEYS: ready source tasks meta wake cleared audit errors
-- ARGV: tag, copy, actor, target in words, max, id of the entry that this takes back, ms to keep it
-- Returns: how many jobs the copy holds now, how many are left alone and how many are still to look
--          at, and the id of the audit entry ("": some are left, or the copy holds none); -1 first
--          where it is not known what was restored; error QBODY where 100 copies are kept

local call = redis.call
local tag, copy, actor, max = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local ready, tasks_key, meta_key, cleared, errors = KEYS[1], KEYS[3], KEYS[4], KEYS[6], KEYS[8]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local kinds = { 'zset', 'zset', 'hash', 'hash', 'zset', 'zset', 'stream', 'hash' }
for i = 1, 8 do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kinds[i] then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kinds[i])
  end
end
-- With: bounded
local function exists(name, kind) return call('TYPE', name).ok == kind end
local trash, was = tag .. 'trash:' .. copy, {}
if exists(trash .. ':was', 'hash') then
  local flat = call('HGETALL', trash .. ':was')
  for i = 1, #flat, 2 do was[flat[i]] = flat[i + 1] end
end
local state = was.state
if not state then return { -1, 0, 0, '' } end
local job_sets, all_sets = bounded(was.job_sets, 0), math.min(bounded(was.sets, 0), 2001)
local places = {}
for i = 1, all_sets do places[was['set:' .. i] or ''] = i end
local kept = {}
if exists(trash, 'hash') then
  kept = call('HMGET', trash, 'total', 'alone')
elseif call('ZCARD', cleared) >= 100 then
  return redis.error_reply('QBODY 100 copies of cleared jobs are kept in this queue; restore one '
    .. 'or wait for the oldest to go')
end
local total, alone, ahead = bounded(kept[1], 0), bounded(kept[2], 0), 0

-- With: body
-- A group goes with its last member; what it said of itself goes into the copy.
local function leave_group(id)
  local fine, fp = pcall(call, 'HGET', tag .. 'r:' .. id, 'fp')
  local group = fine and fp and tag .. 'errors:' .. fp
  local place = group and places['errors:' .. fp]
  if not group or not exists(group, 'zset') then return end
  local score = call('ZSCORE', group, id)
  if not score then return end
  local said = call('HGET', errors, fp)
  call('ZREM', group, id)
  if call('ZCARD', group) == 0 then call('HDEL', errors, fp) end
  if place then call('ZADD', trash .. ':' .. place, score, id) end
  if said and places.errors then call('HSETNX', trash .. ':' .. places.errors, fp, said) end
end
call('PERSIST', meta_key)
local left_to_do, bytes, moves, held, parts = max, 0, {}, 0, {}
for i = 1, job_sets do
  local from, set = trash .. ':' .. i .. ':was', tag .. (was['set:' .. i] or '')
  local list = left_to_do > 0 and exists(from, 'zset')
    and call('ZRANGE', from, 0, left_to_do - 1, 'WITHSCORES') or {}
  local seen, into, leaving = {}, {}, {}
  for j = 1, #list, 2 do
    if bytes >= 4194304 then break end
    local id, score = list[j], list[j + 1]
    local packed = call('MGET', tag .. 'j:' .. id)[1]
    bytes = bytes + #(packed or '')
    local body = decode(packed)
    local task, place = body and body[1] or '?', nil
    for _, name in ipairs({ set, KEYS[2], state == 'pending' and tag .. 'held:' .. task or set }) do
      if not place and exists(name, 'zset') and call('ZSCORE', name, id) == score then
        place = name
      end
    end
    seen[#seen + 1], left_to_do = id, left_to_do - 1
    if place then
      total = total + 1
      if place ~= KEYS[2] then held = held + 1 end
      moves[state .. ':' .. task] = (moves[state .. ':' .. task] or 0) + 1
      if state == 'dead' then leave_group(id) end
      leaving[place] = leaving[place] or {}
      leaving[place][#leaving[place] + 1] = id
      into[#into + 1], into[#into + 2] = score, id
    else
      alone = alone + 1
    end
  end
  if #seen > 0 then call('ZREM', from, unpack(seen)) end
  if exists(from, 'zset') then ahead = ahead + call('ZCARD', from) end
  if #into > 0 then parts[#parts + 1] = { trash .. ':' .. i, into, leaving } end
end
for field, by in pairs(moves) do
  call('HINCRBY', tasks_key, field, -by)
  call('HINCRBY', trash, 'count:' .. field, by)
end
if held > 0 then call('HINCRBY', meta_key, 'held', -held) end
local entry = ''
if total > 0 then
  local until_ms = string.format('%.0f', now + tonumber(ARGV[7]))
  call('HSET', trash, 'actor', actor, 'at', now, 'until', until_ms, 'total', total, 'alone', alone)
  if not kept[1] then
    for name, value in pairs(was) do call('HSET', trash, name, value) end
  end
  call('ZADD', cleared, until_ms, copy)
  call('HSET', meta_key, 'copies', table.concat(call('ZRANGE', cleared, 0, -1), '\n'))
end
if ahead == 0 then
  call('UNLINK', trash .. ':was')
  if total > 0 then
    entry = call('XADD', KEYS[7], 'MAXLEN', '~', 10000, '*', 'actor', actor, 'verb', 'undo',
      'target', ARGV[4], 'count', total, 'outcome', total .. ' cleared again, ' .. alone
      .. ' left alone', 'of', ARGV[6])
  end
end
for _, part in ipairs(parts) do
  local into, list, leaving = unpack(part)
  call('ZADD', into, unpack(list))
  for place, members in pairs(leaving) do call('ZREM', place, unpack(members)) end
end
if call('ZCARD', ready) == 0 then call('ZREMRANGEBYSCORE', KEYS[5], 0, 0) end
return { total, alone, ahead, entry }
