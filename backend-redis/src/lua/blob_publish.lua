#!lua
-- Writes the last chunk of an upload and puts it under its key, instead of what was there.
-- KEYS: the namespace.
-- ARGV: the key; the upload, or '' for one of a single chunk; the chunk's number; its bytes; the blob's length.
-- Returns: {1, 1 when it replaced a blob}, or {0} when the upload is dead.
--@ base writes
local id = ARGV[2]
if id ~= '' and not read('uploads', 'ZSCORE', NS .. ':uploads', id) then return { 0 } end
local old = read('blobs', 'HGET', NS .. ':blobs', ARGV[1])
if old then
  local was = cmsgpack.unpack(old)
  if was[4] > 0 then zset('swept blobs', NS .. ':sweep', was[1], was[4]) end
end
if id == '' then
  id = int(tonumber(read('counters', 'HGET', NS, 'upload') or 0) + 1)
  hash('counters', NS, 'upload', id)
else
  zset('uploads', NS .. ':uploads', id, false)
  hash('chunks', NS .. ':chunks', id, false)
end
local number = tonumber(ARGV[3])
local chunks = #ARGV[4] > 0 and number + 1 or number
hash('blobs', NS .. ':blobs', ARGV[1], cmsgpack.pack({ id, tonumber(ARGV[5]), now, chunks }))
zset('keys of blobs', NS .. ':blobkeys', ARGV[1], 0)
if #ARGV[4] > 0 then uses.SET = NS .. ':c:' .. id .. ':' .. number end
check_keys()
if #ARGV[4] > 0 then call('SET', NS .. ':c:' .. id .. ':' .. number, ARGV[4]) end
write_all()
return { 1, old and 1 or 0 }
