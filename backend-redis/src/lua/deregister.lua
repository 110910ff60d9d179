#!lua flags=allow-oom
-- Ends a worker's lease now. What it still owns is rescued later.
-- KEYS: the namespace.
-- ARGV: the worker.
-- Returns: 1.
--@ base writes
hash('workers', NS .. ':workers', ARGV[1], false)
local owns = read('own', 'EXISTS', NS .. ':own:' .. ARGV[1]) == 1
zset('leases', NS .. ':leases', ARGV[1], owns and 0)
check_keys()
write_all()
return 1
