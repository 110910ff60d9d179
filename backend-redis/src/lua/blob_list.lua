#!lua flags=no-writes
-- Lists blobs in the order of their keys.
-- KEYS: the namespace.
-- ARGV: lowest and highest key, as ZRANGE takes them; how many.
-- Returns: for each its key, and what is known about it as stored.
--@ base
local keys = read('keys of blobs', 'ZRANGE', NS .. ':blobkeys', ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
local found = {}
for n = 1, #keys do
  local kept = read('blobs', 'HGET', NS .. ':blobs', keys[n])
  if kept then
    found[#found + 1] = keys[n]
    found[#found + 1] = kept
  end
end
return found
