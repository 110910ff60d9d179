#!lua flags=allow-oom
-- Confirms that blobs are gone. A key that was staged or referred to since it was named stays in the account.
-- KEYS: the namespace.
-- ARGV: keys of blobs.
-- Returns: 1.
--@ base writes
for n = 1, #ARGV do
  local since = read('doomed blobs', 'ZSCORE', NS .. ':doomed', ARGV[n])
  if since and tonumber(since) == 0 then zset('doomed blobs', NS .. ':doomed', ARGV[n], false) end
end
check_keys()
write_all()
return 1
