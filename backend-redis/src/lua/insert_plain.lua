#!lua
-- Inserts jobs about which nothing is to be decided, all or none: of different ids, without unique keys and blobs, that start at once or after a delay.
-- KEYS: the namespace.
-- ARGV: what they share (msgpack array: queues as {name, jobs}; counts as {queue/kind/state, jobs}; classes as {body, what changes up to the times
-- (packed as `part_jobs.lua` has it), queue, kind, priority, delay}; runs of jobs of one class as {class, jobs}); the ids in one text; the args of each;
-- the bodies of their entries in the feed, each for 500 jobs and without their ids.
-- Returns: 1; or, when something is to be decided after all, {the places of jobs whose ids are known, the names of queues without room for all}:
-- nothing is inserted then.
--@ base writes
local TOGETHER = 500
local fine, shared = pcall(cmsgpack.unpack, ARGV[1])
local ids = ARGV[2] or ''
local count = #ids / 16
if not fine or type(shared) ~= 'table' or #ARGV ~= 2 + count + math.ceil(count / TOGETHER) then fail('ARGUMENT', 'new job') end
local queues, classes, runs = shared[1], shared[3], shared[4]

local id, key = {}, {}
for n = 1, count do
  id[n] = sub(ids, n * 16 - 15, n * 16)
  key[n] = NS .. ':j:' .. id[n]
end
local known, full = {}, {}
for from = 1, count, CHUNK do
  local to = math.min(from + CHUNK - 1, count)
  if call('EXISTS', unpack(key, from, to)) > 0 then
    for n = from, to do
      if call('EXISTS', key[n]) == 1 then known[#known + 1] = n end
    end
  end
end

for from = 1, #queues, CHUNK do
  local names, to = {}, math.min(from + CHUNK - 1, #queues)
  for n = from, to do names[#names + 1] = queues[n][1] end
  local settings = read('queues', 'HMGET', NS .. ':queues', unpack(names))
  for n = from, to do
    local depth = settings[n - from + 1] and cmsgpack.unpack(settings[n - from + 1])[3] or ''
    if depth ~= '' then
      local waiting = tonumber(read('depths', 'HGET', NS .. ':depth', queues[n][1]) or 0) or 0
      if waiting + queues[n][2] > tonumber(depth) then full[#full + 1] = queues[n][1] end
    end
    depths[queues[n][1]] = queues[n][2]
  end
end
if #known > 0 or #full > 0 then return { known, full } end
for _, grown in ipairs(shared[2]) do counts[grown[1]] = grown[2] end

-- A time or a place as msgpack has it.
local function wide(n) return '\207' .. pack('>I8', n) end

local all, place, born = list('ids', NS .. ':ids', 'zset'), last_rank, wide(now)
for _, class in ipairs(classes) do
  local delay = class[6]
  if delay == 0 then
    class.waits, class.front = list('ready', NS .. ':r:' .. class[3] .. '/' .. class[4], 'zset'), class[2] .. born .. born .. '\0\0\160\160\207'
    hints[class[3]] = true
  else
    class.waits, class.due = list('due', NS .. ':due', 'zset'), after(delay)
    class.whole = class[2] .. born .. wide(class.due) .. '\0\0\160\160\0\1\0\0\0'
  end
end
local n, standing = 0, {}
for _, run in ipairs(runs) do
  local class = classes[run[1]]
  local waits, front, priority = class.waits, class.front, class[5]
  for _ = 1, run[2] do
    n = n + 1
    local at = #all
    all[at + 1], all[at + 2] = 0, id[n]
    at = #waits
    if front then
      place = place + 1
      local turn = pack('>I8', place)
      standing[n] = front .. turn .. '\1\0\0\0'
      waits[at + 1], waits[at + 2] = priority, turn .. id[n]
    else
      standing[n] = class.whole
      waits[at + 1], waits[at + 2] = class.due, id[n]
    end
  end
end
last_rank = place
for from = 1, count, TOGETHER do
  local some = sub(ids, from * 16 - 15, (from + TOGETHER - 1) * 16)
  entries[#entries + 1] = { seq = next_seq(), body = ARGV[3 + count + #entries], ids = some }
end

settle_counts('counts', NS .. ':counts', counts)
settle_counts('depths', NS .. ':depth', depths)
uses.HSET = key[1]
check_keys()
local changes = {}
for at = 1, #entries do changes[at] = '[' .. int(entries[at].seq) .. ',' .. int(now) .. ',-1,' end
n = 0
for _, run in ipairs(runs) do
  local class = classes[run[1]]
  local body, to = class[1], (class.front and AVAILABLE or SCHEDULED) .. ',0,0]'
  for _ = 1, run[2] do
    local change = changes[math.floor(n / TOGETHER) + 1]
    n = n + 1
    call('HSET', key[n], 's', standing[n], 'b', body, 'a', ARGV[2 + n], 't', change .. to)
  end
end
write_all()
return 1
