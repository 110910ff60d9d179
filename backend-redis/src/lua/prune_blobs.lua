#!lua flags=allow-oom
-- Names blobs to delete: those that no job refers to any more and staged ones whose time is up.
-- KEYS: the namespace.
-- ARGV: the most keys to move and to name.
-- Returns: keys.
--@ base writes
local most = tonumber(ARGV[1])
local expired = read('staged blobs', 'ZRANGE', NS .. ':staged', '-inf', int(now), 'BYSCORE', 'LIMIT', 0, most)
for n = 1, #expired do
  zset('staged blobs', NS .. ':staged', expired[n], false)
  zset('doomed blobs', NS .. ':doomed', expired[n], now)
end
if #expired > 0 then
  check_keys()
  write_all()
end
return read('doomed blobs', 'ZRANGE', NS .. ':doomed', 0, most - 1)
