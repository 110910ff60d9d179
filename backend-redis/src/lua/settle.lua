#!lua flags=allow-oom
-- Ends attempts, each whole or not at all, under the fence.
-- KEYS: the namespace.
-- ARGV: the limits; pauses after passed deadlines (msgpack array); the number of settlements; then for each: 36 bytes (job, epoch, claim id) for a
-- completion that brings nothing; else its head (msgpack array: job, epoch, claim id, outcome, delay, failure or '', 1 when the sender refuses it, 1 when it
-- has a result, blobs of the result, notes, follow-ups); its result, the first byte the encoding; its notes; its follow-ups.
-- Returns: for each: {0, state} applied, {1, state} done before, {2} lost, {3, why, what} refused.
--@ base writes jobs keys quick machine insert notes
limits(ARGV[1])
local at = 4

local LOST, applied = { 2 }, {}

-- What is told of settlements that are applied.
local function done(state)
  if not applied[state] then applied[state] = { 0, state } end
  return applied[state]
end

-- The job under a fence, or what is told when it is not its owner's.
local function under(id, epoch, claim)
  local job = load(id)
  if not job then return nil, LOST end
  if owned(job, epoch, claim) then return job end
  return nil, already(job, epoch, claim) and { 1, job.s[STATE] } or LOST
end

-- Applies what the state machine said. A final job carries the fence of its finisher, so that a repeated settlement is recognised.
local function finish(job, to, err)
  local worker, claim = job.s[WORKER], job.s[CLAIM]
  if final(to.state) then
    apply(job, to, 4, err, worker, worker, claim)
  else
    apply(job, to, 4, err, worker)
  end
end

-- A completion that brings nothing, the short way; what is told, or nil when it is not that short.
local finished, finished_at, done_list = wide(now), int(now), nil
local function quickly(head)
  local id = sub(head, 1, 16)
  if jobs[id] ~= nil or rows[id] then return nil end
  local row = row_of(id, job_key(id))
  local way = way_for(row, 83, 12, RUNNING, COMPLETED, 4)
  if not way then return nil end
  local s = row[1]
  if way.fence ~= sub(head, 17, 20) or sub(s, -37, -22) ~= sub(head, 21) then return nil end
  local worker = sub(s, -54, -39)
  row[1] = way.front .. sub(s, -83, -57) .. finished .. sub(s, -55, -13) .. way.last
  row[3] = row[3] .. way.said
  if way.worker ~= worker then
    way.worker, way.own = worker, leave('own', own_key(worker), 'hash')
    way.runs = leave('running', way.names.run, 'zset')
    way.lates = way.b[TIMEOUT] > 0 and leave('late', NS .. ':late', 'zset')
    done_list = list('finished', NS .. ':done:' .. COMPLETED, 'zset')
  end
  way.own[#way.own + 1], way.runs[#way.runs + 1] = id, id
  if way.lates then way.lates[#way.lates + 1] = id end
  local at = #done_list
  done_list[at + 1], done_list[at + 2] = finished_at, id
  move(id, way, worker)
  return done(COMPLETED)
end

-- A completion that brings nothing.
local function plain(head)
  local told = quickly(head)
  if told then return told end
  local job
  job, told = under(sub(head, 1, 16), unpack_('>I4', sub(head, 17, 20)), sub(head, 21))
  if not job then return told end
  local to = settled(job.s, 0, 0)
  finish(job, to)
  return done(to.state)
end

local function one(head, result, notes, follow)
  local job, told = under(head[1], head[2], head[3])
  if not job then return told end
  if head[7] == 1 then return { 3, 'sender' } end
  if not has_room(job, head[10]) then return { 3, 'notes', job.s[NOTES] + head[10] } end
  local answers
  if #follow > 0 then
    local why, what
    answers, why, what = plan(follow, job.id)
    if not answers then return { 3, why, what } end
  end
  local s = job.s
  add_notes(job, notes, head[10])
  local to = settled(s, head[4], head[5])
  local state = to.state
  local err = head[6] ~= '' and failure(s[ATTEMPT], head[6]) or nil
  if err then keep_error(job, err) end
  if head[4] == 0 then
    if head[8] == 1 then besides(job).r = result end
    if #head[9] > 0 then
      besides(job).x = cmsgpack.pack(head[9])
      refer(head[9], 1)
    end
  end
  finish(job, to, err)
  if answers then insert_all(follow, answers) end
  return done(state)
end

local answers = {}
for n = 1, tonumber(ARGV[3]) do
  local first = ARGV[at]
  if first and #first == 36 then
    answers[n] = plain(first)
    at = at + 1
  else
    local head = shown(first, 'settlement')
    local result, notes = ARGV[at + 1], at + 2
    local follow = notes + head[10] * 2
    at = follow + head[11] * 3
    answers[n] = one(head, result, notes, read_new(follow, head[11]))
  end
end
if #moved > 0 or #dirty > 0 then flush() end
return answers
