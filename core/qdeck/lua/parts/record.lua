-- With: tail
-- A record that says nothing special is known by its bytes: unpacking it costs six times as much.
local function glance(packed)
  local _, kind, _, _, a, b, c, d, e, f, due, shape, size = string.byte(packed, 1, 13)
  if kind ~= 207 or due ~= 0 or shape ~= 157 or size < 160 or size > 191
    or not plain_priority(packed) then return end
  local payload = string.byte(packed, size - 146)
  if payload < 160 or payload > 219 then return end
  return string.sub(packed, 14, size - 147),
    ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end
-- Everything in a record that is used here is checked here; what does not fit raises.
local function read(packed)
  local record = cmsgpack.unpack(packed)
  local body, key = record[3], record[3][13] and record[3][13][4] or ''
  local sum = record[1] + record[2] + body[3] + body[6] + body[7] + body[8] + body[11]
  -- A comparison, unlike a sum, raises for text that looks like a number.
  assert(type(body[1]) == 'string' and type(body[2]) == 'string' and type(body[10]) == 'string'
    and type(key) == 'string' and record[1] > 0 and record[2] >= 0 and body[3] >= 0
    and body[6] >= 0 and body[7] >= 0 and body[8] >= -1 and body[11] >= 0 and sum < 1e15)
  return body, record
end
