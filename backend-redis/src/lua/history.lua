#!lua flags=no-writes
-- Reads a job's trail and its notes after a place.
-- KEYS: the namespace.
-- ARGV: the job; the number of the entry to go on from; the most notes.
-- Returns: {} for an unknown job, else {b, trail, notes}, each note one text: number, time and body.
--@ base
local row = read('job', 'HMGET', NS .. ':j:' .. ARGV[1], 'b', 't')
if not row[1] and not row[2] then return {} end
local notes = read('notes', 'ZRANGE', NS .. ':n:' .. ARGV[1], ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3])
return { row[1] or '', row[2] or '', notes }
