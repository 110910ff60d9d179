DELETE FROM windlass_blob_trash WHERE id = ?1 AND due_at > 0
