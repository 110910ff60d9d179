#!lua flags=allow-oom
-- Extends a worker's lease by its full length, unless it has run out, and reads what the worker owns.
-- KEYS: the namespace.
-- ARGV: the worker.
-- Returns: {0} when the lease has run out; else {1, jobs}: for each its id, then epoch (4 bytes), claim id (16 bytes) and '1' when it is to be cancelled.
--@ base writes
if not alive(ARGV[1]) then return { 0 } end
local described = read('workers', 'HGET', NS .. ':workers', ARGV[1])
if not described then return { 0 } end
local own = read('own', 'HGETALL', NS .. ':own:' .. ARGV[1])
zset('leases', NS .. ':leases', ARGV[1], after(cmsgpack.unpack(described)[2]))
write_all()
return { 1, own }
