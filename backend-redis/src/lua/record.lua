#!lua flags=allow-oom
-- Adds notes to running jobs, each record under the fence.
-- KEYS: the namespace.
-- ARGV: the limits; the number of records; then for each: its head (msgpack array: job, epoch, claim id, 1 when the sender refuses it, notes), its notes.
-- Returns: for each: {0} added, {2} lost, {3, why, what} refused.
--@ base writes jobs keys notes
limits(ARGV[1])
local at, answers = 3, {}
for n = 1, tonumber(ARGV[2]) do
  local head = shown(ARGV[at], 'record')
  local job = load(head[1])
  if not job or not owned(job, head[2], head[3]) then
    answers[n] = { 2 }
  elseif head[4] == 1 then
    answers[n] = { 3, 'sender' }
  elseif not has_room(job, head[5]) then
    answers[n] = { 3, 'notes', job.s[NOTES] + head[5] }
  else
    add_notes(job, at + 1, head[5])
    answers[n] = { 0 }
  end
  at = at + 1 + head[5] * 2
end
if #dirty > 0 then flush() end
return answers
