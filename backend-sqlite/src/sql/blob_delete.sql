DELETE FROM windlass_blobs WHERE key IN (SELECT value FROM json_each(?1))
