SELECT key, len, modified_at FROM windlass_blobs
WHERE key >= ?1 AND key < ?2 AND key > ?3
ORDER BY key LIMIT ?4
