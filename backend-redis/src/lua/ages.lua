#!lua flags=no-writes
-- Tells how long the oldest jobs of lines and queues have waited or run. Of the available jobs of one lane and priority only the one at the head is
-- looked at.
-- KEYS: the namespace.
-- ARGV: what is asked (msgpack array of {queue, kind} for jobs that wait, {queue, ''} for those that run), a bounded number.
-- Returns: for each the micros, or -1 when there are none.
--@ base
-- Priorities of one line that are looked at.
local PRIORITIES = 32

local function due(member)
  local packed = read('job', 'HGET', NS .. ':j:' .. sub(member, 9), 's')
  local fine, s = pcall(cmsgpack.unpack, packed or '')
  return fine and type(s) == 'table' and type(s[9]) == 'number' and s[9] or now
end

local function waited(key)
  local oldest, head = -1, read('ready', 'ZRANGE', key, 0, 0, 'WITHSCORES')
  for _ = 1, PRIORITIES do
    if not head[1] then break end
    oldest = math.max(oldest, now - due(head[1]))
    head = call('ZRANGE', key, '(' .. head[2], '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  end
  return oldest
end

local function ran(queue)
  local first = read('running', 'ZRANGE', NS .. ':run:' .. queue, 0, 0, 'WITHSCORES')
  return first[2] and math.max(now - tonumber(first[2]), 0) or -1
end

local ages = {}
for n, line in ipairs(cmsgpack.unpack(ARGV[1])) do
  local queue, kind = line[1], line[2]
  if kind == '' then
    ages[n] = ran(queue)
  else
    ages[n] = math.max(waited(NS .. ':r:' .. queue .. '/' .. kind), waited(NS .. ':x:' .. queue .. '/' .. kind))
  end
end
return ages
