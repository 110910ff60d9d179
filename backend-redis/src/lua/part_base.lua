-- The ground of every script: names of keys, the clock, errors.
-- KEYS[1] is the namespace in braces and the hash of its counters; every other key begins with it, so all are in one slot.
local NS = KEYS[1]
local call, pcall_ = redis.call, redis.pcall
local format, sub = string.format, string.sub
local pack, unpack_ = struct.pack, struct.unpack

local BLOCKED, SCHEDULED, AVAILABLE, RUNNING, RETRYABLE = 0, 1, 2, 3, 4
local COMPLETED, CANCELLED, DISCARDED = 5, 6, 7
-- The last time that a number holds exactly, in the year 2255.
local LAST = 9007199254740991
-- The most values in one call of a command: Lua's stack is bounded.
local CHUNK = 1000

-- Numbers beyond 14 digits lose some when Lua makes texts of them.
local function int(n) return format('%.0f', n) end

local function fail(code, what) error({ err = 'WINDLASS ' .. code .. ' ' .. what }) end

-- Reads, and names the role of a key that holds something else.
local function read(role, ...)
  local answer = pcall_(...)
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'WRONGTYPE', 1, true) then fail('TYPE', role) end
    error(answer)
  end
  return answer
end

-- The clock never steps back: it is at least the highest number of the feed, which follows it.
local now, last_seq, last_rank
do
  local time = call('TIME')
  local kept = read('counters', 'HMGET', NS, 'clock', 'rank')
  last_seq, last_rank = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
  now = math.max(time[1] * 1000000 + time[2], last_seq)
end

local function after(delay) return math.min(now + delay, LAST) end

-- A worker holds a lease that has not run out.
local function alive(worker)
  local expires = read('leases', 'ZSCORE', NS .. ':leases', worker)
  return expires and tonumber(expires) > now
end
