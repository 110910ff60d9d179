-- The lines in which jobs wait: one for each queue, kind and lane.

-- A line's first jobs behind those passed before, read a few at a time. The limit is at least 1.
local function line(queue, kind, quarantine, limit, passed)
  local key = ready_key(queue, kind, quarantine)
  local at, from, size, part = 1, passed, math.min(limit, 4), {}
  -- passed: how many were left where they are.
  local self = { key = key, passed = passed }

  local function fetch()
    part = read('ready', 'ZRANGE', key, from, from + size - 1, 'WITHSCORES')
    from, at, size = from + size, 1, math.min(size * 4, 256)
  end

  fetch()
  -- Priority and place of the first; nil at the end.
  function self.head()
    if at > #part and #part > 0 then fetch() end
    if #part == 0 then return nil end
    if not self.rank then self.rank = unpack_('>I8', part[at]) end
    return tonumber(part[at + 1]), self.rank
  end

  function self.take()
    local member = part[at]
    at, self.rank = at + 2, nil
    return member
  end

  return self
end

-- The line whose first job comes before those of the others, among those of kinds that have room.
local function first(lines, rooms)
  local best, best_priority, best_rank
  for n = 1, #lines do
    if rooms[n] > 0 then
      local priority, rank = lines[n].head()
      if priority and (not best or priority < best_priority or (priority == best_priority and rank < best_rank)) then
        best, best_priority, best_rank = n, priority, rank
      end
    end
  end
  return best
end

-- What runs under the claim id of a request whose reply was lost, in the order of that reply.
local function resent(worker, claim, queues)
  local again, places = {}, {}
  for n = 1, #queues do places[queues[n][1]] = places[queues[n][1]] or n end
  local own = read('own', 'HGETALL', own_key(worker))
  for n = 1, #own, 2 do
    -- The mark has the claim id behind the epoch; the job itself decides.
    local job = sub(own[n + 1], 5, 20) == claim and load(own[n])
    if job and job.s[CLAIM] == claim then again[#again + 1] = job end
  end
  table.sort(again, function(x, y)
    local a, b = places[x.b[QUEUE]] or 0, places[y.b[QUEUE]] or 0
    if a ~= b then return a < b end
    if x.b[PRIORITY] ~= y.b[PRIORITY] then return x.b[PRIORITY] < y.b[PRIORITY] end
    return x.s[RANK] < y.s[RANK]
  end)
  return again
end
