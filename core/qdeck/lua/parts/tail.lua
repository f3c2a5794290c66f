-- The priority of a record that says nothing special but how often it is retried, told by its last
-- bytes: no delay, no end, no timeout, key, metadata or links of its own.
local function plain_priority(packed)
  local priority, delay, at, within, till, retries, timeout, unique, more, metadata, links =
    string.byte(packed, -11, -1)
  if links == 192 and delay == 0 and at == 0 and within == 0 and till == 0
    and (retries < 128 or retries == 255) and timeout == 255 and unique == 160 and more == 0
    and metadata == 160 and priority < 10 then return priority end
end
