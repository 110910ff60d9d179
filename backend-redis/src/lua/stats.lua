#!lua flags=no-writes
-- Reads the figures of one moment. Of the available jobs of one queue, kind, lane and priority only the one at the head is looked at.
-- KEYS: the namespace.
-- ARGV: queues; none for all.
-- Returns: {counts as the hash has them: queue/kind/state and number in turn; ages: {queue, micros or -1, micros or -1}}.
--@ base
-- Priorities of one line that are looked at.
local PRIORITIES = 32
local wanted
for n = 1, #ARGV do
  wanted = wanted or {}
  wanted[ARGV[n]] = true
end
local found, ages = {}, {}
local fields = read('counts', 'HGETALL', NS .. ':counts')

local function age(queue)
  if not ages[queue] then ages[queue] = { queue, -1, -1 } end
  return ages[queue]
end

local function due(member)
  local packed = read('job', 'HGET', NS .. ':j:' .. sub(member, 9), 's')
  local fine, s = pcall(cmsgpack.unpack, packed or '')
  return fine and type(s) == 'table' and type(s[9]) == 'number' and s[9] or now
end

local function heads(queue, key)
  local head = read('ready', 'ZRANGE', key, 0, 0, 'WITHSCORES')
  for _ = 1, PRIORITIES do
    if not head[1] then return end
    local of = age(queue)
    of[2] = math.max(of[2], now - due(head[1]))
    head = call('ZRANGE', key, '(' .. head[2], '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  end
end

for n = 1, #fields, 2 do
  local queue, kind, state = string.match(fields[n], '^(.*)/(.*)/(%d)$')
  if queue and (not wanted or wanted[queue]) then
    found[#found + 1] = fields[n]
    found[#found + 1] = fields[n + 1]
    if state == '2' then
      heads(queue, NS .. ':r:' .. queue .. '/' .. kind)
      heads(queue, NS .. ':x:' .. queue .. '/' .. kind)
    elseif state == '3' and age(queue)[3] < 0 then
      local first = read('running', 'ZRANGE', NS .. ':run:' .. queue, 0, 0, 'WITHSCORES')
      if first[2] then age(queue)[3] = math.max(now - tonumber(first[2]), 0) end
    end
  end
end
local list = {}
for _, of in pairs(ages) do list[#list + 1] = of end
return { found, list }
