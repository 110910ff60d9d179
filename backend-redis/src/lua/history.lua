#!lua flags=no-writes
-- Reads a job's trail and its notes after a place.
-- KEYS: the namespace.
-- ARGV: the job; the number of the entry to go on from; the most notes; their most bytes.
-- Returns: {} for an unknown job, else {b, trail, notes, cut}, each note one text: number, time and body; cut 1 when there are more notes for which
-- there was no room.
--@ base
-- Notes read at once.
local AT_ONCE = 64
local row = read('job', 'HMGET', NS .. ':j:' .. ARGV[1], 'b', 't')
if not row[1] and not row[2] then return {} end
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local notes, cut = {}, 0
repeat
  local size = math.min(AT_ONCE, most - #notes)
  local some = read('notes', 'ZRANGE', NS .. ':n:' .. ARGV[1], ARGV[2], '+inf', 'BYSCORE', 'LIMIT', #notes, size)
  for n = 1, #some do
    notes[#notes + 1] = some[n]
    room = room - #some[n]
  end
  if room <= 0 and #some == size then cut = 1 end
until #some < size or #notes >= most or cut == 1
return { row[1] or '', row[2] or '', notes, cut }
