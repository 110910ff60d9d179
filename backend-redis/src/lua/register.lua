#!lua flags=allow-oom
-- Grants a lease to a worker, or extends one that has not run out.
-- KEYS: the namespace.
-- ARGV: the worker; its lease in micros; its description (a msgpack array of name and queues).
-- Returns: 1, or 0 when the worker had a lease that ran out.
--@ base writes
local known = read('leases', 'ZSCORE', NS .. ':leases', ARGV[1])
if known and tonumber(known) <= now then return 0 end
local described = read('workers', 'HGET', NS .. ':workers', ARGV[1])
local started = now
if described then started = cmsgpack.unpack(described)[1] end
local info = cmsgpack.unpack(ARGV[3])
hash('workers', NS .. ':workers', ARGV[1], cmsgpack.pack({ started, tonumber(ARGV[2]), info[1], info[2] }))
zset('leases', NS .. ':leases', ARGV[1], after(tonumber(ARGV[2])))
check_keys()
write_all()
return 1
