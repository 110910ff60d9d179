#!lua flags=allow-oom
-- Removes some chunks that are nobody's, those of dead uploads too.
-- KEYS: the namespace.
-- ARGV: the most chunks.
-- Returns: 1 when there are more.
--@ base writes blobs
-- Uploads and blobs looked at by one call.
local AT_ONCE = 100
local most = tonumber(ARGV[1])
local dead = read('uploads', 'ZRANGE', NS .. ':uploads', '-inf', int(now), 'BYSCORE', 'LIMIT', 0, AT_ONCE)
for n = 1, #dead do give_up(dead[n]) end
local doomed, more = read('swept blobs', 'ZRANGE', NS .. ':sweep', 0, AT_ONCE - 1, 'WITHSCORES'), #dead
local keys, looked = {}, 0
for n = 1, #doomed, 2 do
  local id, left = doomed[n], tonumber(doomed[n + 1])
  -- From the last one on, so that a reader finds that the blob is gone.
  while left > 0 and looked < most do
    left = left - 1
    local key = NS .. ':c:' .. id .. ':' .. left
    looked = looked + 1
    if read('chunk', 'EXISTS', key) == 1 then keys[#keys + 1] = key end
  end
  zset('swept blobs', NS .. ':sweep', id, left > 0 and left)
  if left > 0 then more = more + 1 end
end
if next(zsets) then
  uses.UNLINK = keys[1]
  check_keys()
  for n = 1, #keys do call('UNLINK', keys[n]) end
  write_all()
end
return (more > 0 or #doomed == AT_ONCE * 2) and 1 or 0
