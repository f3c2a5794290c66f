-- A key of another type than it has to be holds nothing that is of use.
local function clear_unless(name, kind)
  local found = call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then call('DEL', name) end
end
