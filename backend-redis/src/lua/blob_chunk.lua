#!lua
-- Writes the next chunk of an upload.
-- KEYS: the namespace.
-- ARGV: the upload; the chunk's number from 0; its bytes; after how many micros without another one the upload is dead.
-- Returns: 1, or 0 when the upload is dead.
--@ base writes
if not read('uploads', 'ZSCORE', NS .. ':uploads', ARGV[1]) then return 0 end
zset('uploads', NS .. ':uploads', ARGV[1], after(tonumber(ARGV[4])))
hash('chunks', NS .. ':chunks', ARGV[1], tonumber(ARGV[2]) + 1)
uses.SET = NS .. ':c:' .. ARGV[1] .. ':' .. ARGV[2]
check_keys()
call('SET', NS .. ':c:' .. ARGV[1] .. ':' .. ARGV[2], ARGV[3])
write_all()
return 1
