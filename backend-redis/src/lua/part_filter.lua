-- Which jobs pass: {states, queues, kinds, tags, unique key or ''}, empty lists for any.
local function filter_of(packed)
  local wanted = cmsgpack.unpack(packed)
  local function set(list)
    if #list == 0 then return nil end
    local names = {}
    for _, name in ipairs(list) do names[name] = true end
    return names
  end
  return { states = set(wanted[1]), queues = set(wanted[2]), kinds = set(wanted[3]), tags = wanted[4], key = wanted[5] }
end

local function passes(filter, s, b)
  if filter.states and not filter.states[s[1]] then return false end
  if filter.queues and not filter.queues[b[2]] then return false end
  if filter.kinds and not filter.kinds[b[1]] then return false end
  if filter.key ~= '' and filter.key ~= b[5] then return false end
  for _, tag in ipairs(filter.tags) do
    local found = false
    for _, own in ipairs(b[9] or {}) do found = found or own == tag end
    if not found then return false end
  end
  return true
end
