-- $1 key
SELECT b.key, b.len, b.modified_at, b.id FROM windlass.blobs AS b WHERE b.key = $1
