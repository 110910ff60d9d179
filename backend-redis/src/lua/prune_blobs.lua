#!lua flags=allow-oom
-- Names blobs to delete: those that no job refers to any more and staged ones whose time is up. Named ones have the score 0.
-- KEYS: the namespace.
-- ARGV: the most keys to move and to name.
-- Returns: keys.
--@ base writes
local most = tonumber(ARGV[1])
local names, doomed = {}, read('doomed blobs', 'ZRANGE', NS .. ':doomed', 0, most - 1, 'WITHSCORES')
local expired = read('staged blobs', 'ZRANGE', NS .. ':staged', '-inf', int(now), 'BYSCORE', 'LIMIT', 0, most)
for n = 1, #doomed, 2 do
  names[#names + 1] = doomed[n]
  if tonumber(doomed[n + 1]) > 0 then zset('doomed blobs', NS .. ':doomed', doomed[n], 0) end
end
for n = 1, #expired do
  zset('staged blobs', NS .. ':staged', expired[n], false)
  local room = #names < most
  if room then names[#names + 1] = expired[n] end
  zset('doomed blobs', NS .. ':doomed', expired[n], room and 0 or now)
end
check_keys()
write_all()
return names
