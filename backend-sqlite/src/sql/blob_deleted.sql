INSERT INTO windlass_blob_trash (id, due_at)
SELECT id, 0 FROM windlass_blobs WHERE key IN (SELECT value FROM json_each(?1))
