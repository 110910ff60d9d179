#!lua flags=allow-oom
-- Moves time on, a bounded piece of each kind of work: promotes what is due, rescues what is lost or overdue, frees windows that have passed, and
-- removes workers whose lease has run out and who own nothing any more.
-- KEYS: the namespace.
-- ARGV: the limits; pauses after passed deadlines (msgpack array); the most jobs to promote; to rescue; windows to free.
-- Returns: {promoted, rescued ids, windows freed, workers removed, 1 when more is due, 1 when more is lost, 1 when more windows passed, micros until
-- the next job is due or -1, workers that are left}.
--@ base writes jobs keys machine maintain
limits(ARGV[1])
local pauses = cmsgpack.unpack(ARGV[2])
local promoted, more_due = promote(tonumber(ARGV[3]))
local rescued, removed, more_lost = rescue_lost(tonumber(ARGV[4]), pauses)
local freed, more_windows = free_windows(tonumber(ARGV[5]))
local wait = next_due()
local leased = read('workers', 'HLEN', NS .. ':workers') - removed
if next(zsets) or next(hashes) then flush() end
return { promoted, rescued, freed, removed, more_due, more_lost, more_windows, wait, leased }
