-- A number that fits, or what stands for one that does not.
local function bounded(value, default)
  local number = tonumber(value)
  return number and number > -1e15 and number < 1e15 and number or default
end
