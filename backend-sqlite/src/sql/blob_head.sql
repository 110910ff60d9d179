SELECT key, len, modified_at, id FROM windlass_blobs WHERE key = ?1
