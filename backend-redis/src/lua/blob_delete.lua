#!lua flags=allow-oom
-- Takes blobs away; their chunks are to be removed.
-- KEYS: the namespace.
-- ARGV: keys of blobs.
-- Returns: how many there were.
--@ base writes
local found = 0
for n = 1, #ARGV do
  local kept = read('blobs', 'HGET', NS .. ':blobs', ARGV[n])
  if kept then
    local blob = cmsgpack.unpack(kept)
    if blob[4] > 0 then zset('swept blobs', NS .. ':sweep', blob[1], blob[4]) end
    hash('blobs', NS .. ':blobs', ARGV[n], false)
    zset('keys of blobs', NS .. ':blobkeys', ARGV[n], false)
    found = found + 1
  end
end
check_keys()
write_all()
return found
