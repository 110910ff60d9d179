#!lua
-- Begins an upload of several chunks.
-- KEYS: the namespace.
-- ARGV: after how many micros without a new chunk it is dead.
-- Returns: its number.
--@ base writes
local id = tonumber(call('HINCRBY', NS, 'upload', 1))
zset('uploads', NS .. ':uploads', id, after(tonumber(ARGV[1])))
hash('chunks', NS .. ':chunks', id, 0)
check_keys()
write_all()
return id
