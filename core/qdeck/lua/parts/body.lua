-- What enqueue wrote, where its task and unique key can be read.
local function decode(packed)
  local fine, record = pcall(cmsgpack.unpack, packed or '')
  local body = fine and type(record) == 'table' and record[3]
  if type(body) ~= 'table' or type(body[1]) ~= 'string' or type(body[10]) ~= 'string' then return end
  return body
end
