#!lua flags=allow-oom
-- Takes available jobs for a worker, and looks at a bounded number of them.
-- KEYS: the namespace.
-- ARGV: the limits; the worker; the claim id; 1 for the quarantine lane, else 0; 1 when the request was sent before, else 0; the most jobs; the most
-- bytes of args; queues as a msgpack array of {name, limit}; kinds as one of {name, limit}, -1 for none; known encodings as a msgpack array;
-- how many jobs to step over in the lines of the first queue, by kind (msgpack array, empty for none).
-- Returns: {'expired'}; or {more, jobs, queue, passed}: more 1 when it stopped before the limits, each job {id, s, b, args, progress}; the queue
-- (counted from 1) with which to go on, and how many jobs of its lines to step over then (as they are given).
--@ base writes jobs keys quick claim
limits(ARGV[1])
local worker, claim, quarantine = ARGV[2], ARGV[3], ARGV[4] == '1'
local most, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local queues, wanted = cmsgpack.unpack(ARGV[8]), cmsgpack.unpack(ARGV[9])
if not alive(worker) then return { 'expired' } end

-- A job as it is answered. Those of a repeated request are found first, without their args.
local function lease(job)
  if job.a == nil then
    local row = read('job', 'HMGET', job.key, 'a', 'p')
    job.a, job.p = row[1], row[2]
  end
  return { job.id, standing(job), job.raw, job.a, job.p }
end

if ARGV[5] == '1' then
  local again = resent(worker, claim, queues)
  if #again > 0 then
    for n = 1, #again do again[n] = lease(again[n]) end
    return { 0, again, 0, '' }
  end
end
READ_ALSO = { 'a', 'p' }

-- Jobs looked at by one call.
local LOOK = 400
local encodings, rooms, taken, bytes, looked = {}, {}, {}, 0, 0
local more, place, passed = 0, 0, {}
for _, code in ipairs(cmsgpack.unpack(ARGV[10])) do encodings[code] = true end
for n = 1, #wanted do rooms[n] = wanted[n][2] < 0 and LAST or wanted[n][2] end

local function take(job)
  local s = job.s
  local to = { state = RUNNING, attempt = math.min(s[ATTEMPT] + 1, 4294967295), most = s[MOST], snoozes = s[SNOOZES],
    crashes = s[CRASHES], cancelling = s[CANCELLING], bump = true }
  apply(job, to, 3, nil, worker, worker, claim)
  local answer = lease(job)
  taken[#taken + 1] = answer
end

local running_from = wide(now) .. '\0\176' .. worker .. '\176' .. claim
local since, own = int(now), nil

-- Takes a job the short way, and answers whether it did.
local function take_quickly(member, id)
  if quarantine or rows[id] then return false end
  local row = row_of(id, job_key(id))
  local way = way_for(row, 35, 4, AVAILABLE, RUNNING, 3, worker)
  if not way or not encodings[way.b[ENCODING]] or sub(row[1], -12, -5) ~= sub(member, 1, 8) then return false end
  local s = row[1]
  row[1] = way.front .. sub(s, -35, -18) .. running_from .. sub(s, -13, -5) .. way.last
  row[3] = row[3] .. way.said
  if not own then own = list('own', own_key(worker), 'hash') end
  way.mark = way.mark or way.fence .. claim .. '0'
  way.runs = way.runs or list('running', way.names.run, 'zset')
  way.line = way.line or leave('ready', way.names.ready, 'zset')
  local at = #own
  own[at + 1], own[at + 2] = id, way.mark
  at = #way.runs
  way.runs[at + 1], way.runs[at + 2] = since, id
  way.line[#way.line + 1] = member
  if way.b[TIMEOUT] > 0 then
    way.lates = way.lates or list('late', NS .. ':late', 'zset')
    at = #way.lates
    way.lates[at + 1], way.lates[at + 2] = int(way.late), id
  end
  move(id, way, worker)
  taken[#taken + 1] = { id, row[1], row[2], row[4], row[5] }
  bytes = bytes + #(row[4] or '')
  return true
end

-- Takes a job, sets it aside, or leaves it where it is for who can read it. Answers whether it was taken.
local function look_at(line, member)
  local job = load(sub(member, 9))
  -- Also of those that are left where they are.
  if job then bytes = bytes + #(job.a or '') end
  if not job or job.s[STATE] ~= AVAILABLE then
    aside('ready', line.key, member, sub(member, 9))
  elseif encodings[job.b[ENCODING]] then
    take(job)
    return true
  else
    line.passed = line.passed + 1
  end
  return false
end

local function serve(at, skips)
  local queue, limit = queues[at][1], queues[at][2]
  if limit < 1 then return end
  local settings = read('queues', 'HGET', NS .. ':queues', queue)
  if settings and cmsgpack.unpack(settings)[1] == '1' then return end
  local lines = {}
  for n = 1, #wanted do lines[n] = line(queue, wanted[n][1], quarantine, limit, skips[n] or 0) end
  while limit > 0 do
    local n = first(lines, rooms)
    if not n then return end
    if #taken >= most or bytes >= most_bytes or looked >= LOOK then
      more, place = 1, at
      for k = 1, #lines do passed[k] = lines[k].passed end
      return
    end
    looked = looked + 1
    local member = lines[n].take()
    if take_quickly(member, sub(member, 9)) or look_at(lines[n], member) then
      limit, rooms[n] = limit - 1, rooms[n] - 1
    end
  end
end

local skips = cmsgpack.unpack(ARGV[11])
for n = 1, #queues do
  serve(n, n == 1 and skips or {})
  if more == 1 then break end
end
if #moved > 0 or next(zsets) then flush() end
return { more, taken, place, cmsgpack.pack(passed) }
