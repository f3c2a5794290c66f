-- A dead job leaves the group of its error, and the group goes with its last member.
local function leave_group(id, fingerprint)
  if not fingerprint or fingerprint == '' then return end
  local group = tag .. 'errors:' .. fingerprint
  if call('TYPE', group).ok == 'zset' then
    call('ZREM', group, id)
    if call('ZCARD', group) == 0 then call('HDEL', KEYS[8], fingerprint) end
  end
end
