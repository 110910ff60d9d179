#!lua flags=allow-oom
-- Gives up an upload: its chunks may be removed. One that is visible by now stays.
-- KEYS: the namespace.
-- ARGV: the upload.
-- Returns: 1.
--@ base writes blobs
give_up(ARGV[1])
check_keys()
write_all()
return 1
