#!lua
-- Announces blobs about to be written: each is to be deleted after a while unless a job refers to it by then.
-- KEYS: the namespace.
-- ARGV: the while in micros; keys of blobs.
-- Returns: 1.
--@ base writes
local till = after(tonumber(ARGV[1]))
for n = 2, #ARGV do
  if read('references', 'HEXISTS', NS .. ':refs', ARGV[n]) == 0 then
    local before = tonumber(read('staged blobs', 'ZSCORE', NS .. ':staged', ARGV[n]) or 0)
    zset('staged blobs', NS .. ':staged', ARGV[n], math.max(before, till))
    zset('doomed blobs', NS .. ':doomed', ARGV[n], false)
  end
end
check_keys()
write_all()
return 1
