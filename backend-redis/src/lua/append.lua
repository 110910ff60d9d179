#!lua
-- Adds the host's events to a job in any state.
-- KEYS: the namespace.
-- ARGV: the limits; the job; its notes.
-- Returns: {0} added, {1} no such job, {3, why, what} refused.
--@ base writes jobs keys notes
limits(ARGV[1])
local job = load(ARGV[2])
if job == false then fail('DAMAGED', 'job') end
if not job then return { 1 } end
local count = (#ARGV - 2) / 2
if not has_room(job, count) then return { 3, 'notes', job.s[NOTES] + count } end
add_notes(job, 3, count)
if #dirty > 0 then flush() end
return { 0 }
