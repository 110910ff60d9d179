#!lua flags=allow-oom
-- Ends attempts, each whole or not at all, under the fence.
-- KEYS: the namespace.
-- ARGV: the limits; pauses after passed deadlines (msgpack array); the number of settlements; then for each: its head (msgpack array: job, epoch,
-- claim id, outcome, delay, failure or '', 1 when the sender refuses it, 1 when it has a result, blobs of the result, notes, follow-ups); its result,
-- the first byte the encoding; its notes; its follow-ups.
-- Returns: for each: {0, state} applied, {1, state} done before, {2} lost, {3, why, what} refused.
--@ base writes jobs keys machine insert notes
limits(ARGV[1])
local at = 4

local function one(head, result, notes, follow)
  local job = load(head[1])
  if not job then return { 2 } end
  if not owned(job, head[2], head[3]) then
    if already(job, head[2], head[3]) then return { 1, job.s[STATE] } end
    return { 2 }
  end
  if head[7] == 1 then return { 3, 'sender' } end
  if not has_room(job, head[10]) then return { 3, 'notes', job.s[NOTES] + head[10] } end
  local answers, why, what = plan(follow, job.id)
  if not answers then return { 3, why, what } end
  local s = job.s
  add_notes(job, notes, head[10])
  local to = settled(s, head[4], head[5])
  local err = head[6] ~= '' and failure(s[ATTEMPT], head[6]) or nil
  if err then keep_error(job, err) end
  if head[4] == 0 then
    if head[8] == 1 then job.set.r = result end
    if #head[9] > 0 then
      job.set.x = cmsgpack.pack(head[9])
      refer(head[9], 1)
    end
  end
  local worker = s[WORKER]
  -- A final job carries the fence of its finisher, so that a repeated settlement is recognised.
  if final(to.state) then
    apply(job, to, 4, err, worker, worker, s[CLAIM])
  else
    apply(job, to, 4, err, worker)
  end
  insert_all(follow, answers)
  return { 0, to.state }
end

local answers = {}
for n = 1, tonumber(ARGV[3]) do
  local head = shown(ARGV[at], 'settlement')
  local result, notes = ARGV[at + 1], at + 2
  local follow = notes + head[10] * 2
  at = follow + head[11] * 3
  answers[n] = one(head, result, notes, read_new(follow, head[11]))
end
if #dirty > 0 then flush() end
return answers
