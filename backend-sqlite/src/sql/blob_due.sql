SELECT id FROM windlass_blob_trash WHERE due_at <= ?1 ORDER BY due_at LIMIT 1
