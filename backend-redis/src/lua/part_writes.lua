-- What a script is going to write. Everything is decided first, then the keys are looked at, then all is written: nothing stops half-way.
-- Every key that is written was read or looked at before, and what goes from a key goes after what comes to it: a key that is empty in between is gone,
-- and while a slot moves, one that is gone can't be written.
-- zsets[key][member] and hashes[key][field] hold the new score or value, or false for what goes.
-- lists[key] has scores and members in turn, or fields and values, of those that are new and stand nowhere else; leaving[key] has members or fields that go
-- and stand nowhere else.
-- kinds: the types of the keys to be written; seen: hashes that were read already, so that they need not be looked at.
local zsets, hashes, lists, leaving, roles, kinds, seen = {}, {}, {}, {}, {}, {}, {}
local hints, gone, entries = {}, {}, {}
local counts, depths = {}, {}
local first_seq, first_rank = last_seq, last_rank
-- The commands that write, each with a key that it is used on.
local uses = {}

local function zset(role, key, member, score)
  local set = zsets[key]
  if not set then
    set = {}
    zsets[key], roles[key], kinds[key] = set, role, 'zset'
  end
  set[member] = score
  uses[score and 'ZADD' or 'ZREM'] = key
end

local function hash(role, key, field, value)
  local set = hashes[key]
  if not set then
    set = {}
    hashes[key], roles[key], kinds[key] = set, role, 'hash'
  end
  set[field] = value
  uses[value and 'HSET' or 'HDEL'] = key
end

-- A list of scores and members, or of fields and values, for many at once.
local function list(role, key, kind)
  local values = lists[key]
  if not values then
    values = {}
    lists[key], roles[key], kinds[key] = values, role, kind
    uses[kind == 'hash' and 'HSET' or 'ZADD'] = key
  end
  return values
end

-- A list of members or fields that go, for many at once.
local function leave(role, key, kind)
  local values = leaving[key]
  if not values then
    values = {}
    leaving[key], roles[key], kinds[key] = values, role, kind
    uses[kind == 'hash' and 'HDEL' or 'ZREM'] = key
  end
  return values
end

-- A number in the feed: it grows, and follows the clock.
local function next_seq()
  last_seq = math.max(last_seq + 1, now)
  return last_seq
end

local function add(to, name, n) to[name] = (to[name] or 0) + n end

local function expect(role, key, kind)
  local found = call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then fail('TYPE', role) end
end

local function in_chunks(command, key, values)
  for from = 1, #values, CHUNK do
    call(command, key, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
end

local function write_zset(key, set)
  local added, removed = {}, {}
  for member, score in pairs(set) do
    if score then
      added[#added + 1] = score
      added[#added + 1] = member
    else
      removed[#removed + 1] = member
    end
  end
  in_chunks('ZADD', key, added)
  in_chunks('ZREM', key, removed)
end

local function write_hash(key, set)
  local added, removed = {}, {}
  for field, value in pairs(set) do
    if value then
      added[#added + 1] = field
      added[#added + 1] = value
    else
      removed[#removed + 1] = field
    end
  end
  in_chunks('HSET', key, added)
  in_chunks('HDEL', key, removed)
end

-- Counts of jobs after this script.
local function settle_counts(role, key, set)
  local names = {}
  for name, n in pairs(set) do
    if n ~= 0 then names[#names + 1] = name end
  end
  for from = 1, #names, CHUNK do
    local to = math.min(from + CHUNK - 1, #names)
    local kept = read(role, 'HMGET', key, unpack(names, from, to))
    seen[key] = true
    for at = from, to do
      local count = tonumber(kept[at - from + 1] or 0)
      if not count then fail('DAMAGED', 'count') end
      local left = count + set[names[at]]
      hash(role, key, names[at], left > 0 and int(left))
    end
  end
end

local function may(command, key)
  if not redis.acl_check_cmd(command, key) then fail('RIGHT', string.lower(command)) end
end

-- Looks at the rights of the user: one that is missing would end the script in the midst of its writes.
local function check_rights()
  if #gone > 0 then uses.UNLINK = gone[1] end
  if #entries > 0 then
    uses.XADD = NS .. ':feed'
    may('PUBLISH', NS .. ':news')
  end
  if last_seq ~= first_seq or last_rank ~= first_rank then uses.HSET = uses.HSET or NS end
  if next(hints) then may('PUBLISH', NS .. ':wake') end
  for command, key in pairs(uses) do may(command, key) end
end

-- Looks at the rights, and at the keys that are about to be written.
local function check_keys()
  check_rights()
  for key, kind in pairs(kinds) do
    if not seen[key] then expect(roles[key], key, kind) end
  end
  if #entries > 0 then expect('feed', NS .. ':feed', 'stream') end
end

local function write_all()
  for key, values in pairs(lists) do in_chunks(kinds[key] == 'hash' and 'HSET' or 'ZADD', key, values) end
  for key, set in pairs(zsets) do write_zset(key, set) end
  for key, set in pairs(hashes) do write_hash(key, set) end
  for key, values in pairs(leaving) do in_chunks(kinds[key] == 'hash' and 'HDEL' or 'ZREM', key, values) end
  for n = 1, #gone do call('UNLINK', gone[n]) end
  if last_seq ~= first_seq or last_rank ~= first_rank then
    call('HSET', NS, 'clock', int(last_seq), 'rank', int(last_rank))
  end
  if #entries > 1 then table.sort(entries, function(a, b) return a.seq < b.seq end) end
  for n = 1, #entries do
    local entry = entries[n]
    if entry.job then
      call('XADD', NS .. ':feed', int(entry.seq) .. '-0', 'a', int(now), 'b', entry.body, 'j', entry.job)
    elseif entry.ids then
      call('XADD', NS .. ':feed', int(entry.seq) .. '-0', 'a', int(now), 'b', entry.body, 'i', entry.ids)
    else
      call('XADD', NS .. ':feed', int(entry.seq) .. '-0', 'a', int(now), 'b', entry.body)
    end
  end
  local queues = {}
  for queue in pairs(hints) do queues[#queues + 1] = queue end
  if #queues > 0 then call('PUBLISH', NS .. ':wake', table.concat(queues, '\n')) end
  if #entries > 0 then call('PUBLISH', NS .. ':news', '') end
end
