-- Promise: brings the jobs of a copy back in their order: all at once where no more than `max` jobs
--          stand in their sets now, else `max` a call, the first in order first; each job is in
--          exactly one set, and in the copy until it is back. Which jobs those are is noted before,
--          1,000 a call, and kept for a day (see reclear.lua).
-- KEYS: ready lease source tasks meta wake cleared audit errors
-- ARGV: tag, copy, actor, target in words, max, id of the entry that this takes back ("": none), "1"
--       to note which jobs they are
-- Returns: how many came back in this call, how many are left, how many the copy held, and the id
--          of the audit entry ("" while some are left); -1 first where there is no such copy

local call = redis.call
local tag, copy, actor, max = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local kinds = { 'zset', 'zset', 'zset', 'hash', 'hash', 'zset', 'zset', 'stream', 'hash' }
for i = 1, 9 do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kinds[i] then
    return redis.error_reply('QKIND ' .. KEYS[i] .. ' is a ' .. found .. ', not a ' .. kinds[i])
  end
end
local trash, state, fields = tag .. 'trash:' .. copy, nil, {}
if call('TYPE', trash).ok == 'hash' then
  local flat = call('HGETALL', trash)
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  state = fields.state
end
if not state then return { -1, 0, 0, '' } end
local meta = call('HMGET', KEYS[5], 'paused_tasks', 'unpark')
local known = {}
for task in string.gmatch((meta[1] or '') .. '\n' .. (meta[2] or ''), '[^\n]+') do
  known[task] = true
end
local function exists(name, kind) return call('TYPE', name).ok == kind end
local function is_jobs(name) return string.sub(name, 1, 6) ~= 'errors' end
-- A name that something else took meanwhile is left to it; its jobs go to the state's own set.
local sets, live, left, held, taken = {}, 0, 0, 0, false
for i = 1, tonumber(fields.sets or 0) or 0 do
  local name, from = fields['set:' .. i] or '', trash .. ':' .. i
  local kind = name == 'errors' and 'hash' or 'zset'
  if exists(from, kind) then
    local to = tag .. name
    local found = call('TYPE', to).ok
    if found ~= 'none' and found ~= kind then
      to, taken = is_jobs(name) and KEYS[3] or nil, true
    end
    sets[#sets + 1] = { name = name, from = from, to = to, kind = kind }
    if is_jobs(name) then
      left = left + call('ZCARD', from)
      live = live + call('ZCARD', to)
      if to ~= KEYS[3] then held = held + call('ZCARD', from) end
    end
  end
end

call('PERSIST', KEYS[5])
if ARGV[7] == '1' and not fields.noted then
  local room = 1000
  for i = 1, #sets do
    local from, was = sets[i].from, sets[i].from .. ':was'
    local known = tonumber(fields['noted:' .. i] or 0) or 0
    while is_jobs(sets[i].name) and room > 0 do
      local list = call('ZRANGE', from, known, known + room - 1, 'WITHSCORES')
      if #list == 0 then break end
      local turned = {}
      for j = 1, #list, 2 do turned[j], turned[j + 1] = list[j + 1], list[j] end
      call('ZADD', was, unpack(turned))
      call('EXPIRE', was, 90000)
      known, room = known + #list / 2, room - #list / 2
    end
    call('HSET', trash, 'noted:' .. i, known)
    if room <= 0 then break end
  end
  if room <= 0 then return { 0, left, tonumber(fields.total or 0) or 0, '' } end
  call('HSET', trash, 'noted', 1)
end
local moved, unpark = 0, {}
local at_once = live <= max and not taken
if at_once then
  moved, left = left, 0
  for i = 1, #sets do
    local set = sets[i]
    local task = string.match(set.name, '^held:(.*)$')
    if task and not known[task] then unpark[#unpark + 1] = task end
    if set.kind == 'hash' then
      local groups = call('HGETALL', set.to)
      for j = 1, #groups, 2 do call('HSET', set.from, groups[j], groups[j + 1]) end
    else
      local members = call('ZRANGE', set.to, 0, -1, 'WITHSCORES')
      for j = 1, #members, 2 do call('ZADD', set.from, members[j + 1], members[j]) end
    end
  end
  for field, by in pairs(fields) do
    local counted = string.match(field, '^count:(.*)$')
    if counted then call('HINCRBY', KEYS[4], counted, by) end
  end
else
  held = 0
  for i = 1, #sets do
    local set = sets[i]
    local list = moved < max and is_jobs(set.name) and set.to
      and call('ZRANGE', set.from, 0, max - moved - 1, 'WITHSCORES') or {}
    local task = string.match(set.name, '^held:(.*)$')
    if task and #list > 0 and not known[task] then unpark[#unpark + 1] = task end
    local members, ids, bytes, bodies, back = {}, {}, 0, {}, {}
    for j = 1, #list, 2 do
      -- Bodies are read in small steps, since one may hold 1 MiB.
      local place = (j - 1) / 2 % 25
      if place == 0 then
        if bytes >= 4194304 then break end
        local names = {}
        for at = j, math.min(j + 48, #list), 2 do names[#names + 1] = tag .. 'j:' .. list[at] end
        bodies = call('MGET', unpack(names))
      end
      local id, packed = list[j], bodies[place + 1] or ''
      bytes = bytes + #packed
      local fine, record = pcall(cmsgpack.unpack, packed)
      local body = fine and type(record) == 'table' and record[3]
      local own = type(body) == 'table' and type(body[1]) == 'string' and body[1] or '?'
      back[state .. ':' .. own] = (back[state .. ':' .. own] or 0) + 1
      local fp = state == 'dead' and pcall(call, 'HLEN', tag .. 'r:' .. id)
        and call('HGET', tag .. 'r:' .. id, 'fp')
      local group = fp and tag .. 'errors:' .. fp
      if group and (exists(group, 'zset') or exists(group, 'none')) then
        call('ZADD', group, list[j + 1], id)
        local last = fields.sets and trash .. ':' .. fields.sets
        local kept = last and exists(last, 'hash') and call('HGET', last, fp)
        if kept then call('HSETNX', KEYS[9], fp, kept) end
      end
      members[#members + 1], members[#members + 2], ids[#ids + 1] = list[j + 1], id, id
    end
    for counted, by in pairs(back) do
      by = math.min(by, tonumber(fields['count:' .. counted]) or 0)
      if by > 0 then
        fields['count:' .. counted] = call('HINCRBY', trash, 'count:' .. counted, -by)
        call('HINCRBY', KEYS[4], counted, by)
      end
    end
    if #ids > 0 then
      if set.to ~= KEYS[3] then held = held + #ids end
      moved, left = moved + #ids, left - #ids
      call('ZADD', set.to, unpack(members))
      call('ZREM', set.from, unpack(ids))
    end
  end
end
if held > 0 then call('HINCRBY', KEYS[5], 'held', held) end
if #unpark > 0 then
  call('HSET', KEYS[5], 'unpark', (meta[2] and meta[2] .. '\n' or '') .. table.concat(unpark, '\n'))
end
local entry, total = '', tonumber(fields.total or 0) or 0
if left == 0 then
  local said = { 'actor', actor, 'verb', 'restore', 'target', ARGV[4], 'count', total, 'outcome',
    'restored', 'of', ARGV[6] }
  call('UNLINK', trash .. ':was')
  if ARGV[7] == '1' then
    for _, part in ipairs({ 'until', string.format('%.0f', now + 86400000), 'undo',
      cjson.encode({ ['do'] = 'clear_again', copy = copy }) }) do said[#said + 1] = part end
    for name, value in pairs(fields) do
      if name == 'state' or name == 'sets' or name == 'job_sets' or string.match(name, '^set:') then
        call('HSET', trash .. ':was', name, value)
      end
    end
    call('EXPIRE', trash .. ':was', 90000)
  end
  entry = call('XADD', KEYS[8], 'MAXLEN', '~', 10000, '*', unpack(said))
  call('ZREM', KEYS[7], copy)
  call('HSET', KEYS[5], 'copies', table.concat(call('ZRANGE', KEYS[7], 0, -1), '\n'))
  call('UNLINK', trash)
  for i = 1, #sets do
    local set = sets[i]
    if at_once then
      call('RENAME', set.from, set.to)
    else
      call('UNLINK', set.from)
    end
  end
end
-- Whoever wakes looks again; its claim puts the marker right.
call('ZADD', KEYS[6], 1, '1')
return { moved, left, total, entry }
