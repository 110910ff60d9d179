#!lua
-- Begins an upload of several chunks.
-- KEYS: the namespace.
-- ARGV: after how many micros without a new chunk it is dead.
-- Returns: its number.
--@ base writes
local id = tonumber(read('counters', 'HGET', NS, 'upload') or 0) + 1
hash('counters', NS, 'upload', int(id))
zset('uploads', NS .. ':uploads', id, after(tonumber(ARGV[1])))
hash('chunks', NS .. ':chunks', id, 0)
check_keys()
write_all()
return id
