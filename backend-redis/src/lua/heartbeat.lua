#!lua flags=allow-oom
-- Extends the leases of workers, each by its full length, unless it has run out, and reads what each owns.
-- KEYS: the namespace.
-- ARGV: the workers.
-- Returns: for each {0} when the lease has run out; else {1, jobs}: for each of these its id, then epoch (4 bytes), claim id (16 bytes) and '1' when it is to be cancelled.
--@ base writes
local answers = {}
for n = 1, #ARGV do
  local described = alive(ARGV[n]) and read('workers', 'HGET', NS .. ':workers', ARGV[n])
  if described then
    answers[n] = { 1, read('own', 'HGETALL', NS .. ':own:' .. ARGV[n]) }
    zset('leases', NS .. ':leases', ARGV[n], after(cmsgpack.unpack(described)[2]))
  else
    answers[n] = { 0 }
  end
end
if next(zsets) then write_all() end
return answers
