#!lua flags=allow-oom
-- Confirms that blobs are gone. A key that was staged or referred to meanwhile is no longer doomed and stays in the account.
-- KEYS: the namespace.
-- ARGV: keys of blobs.
-- Returns: 1.
--@ base writes
for n = 1, #ARGV do zset('doomed blobs', NS .. ':doomed', ARGV[n], false) end
check_keys()
write_all()
return 1
