-- ?1 keys
DELETE FROM windlass_blobs_doomed WHERE key IN (SELECT value FROM json_each(?1))
