UPDATE windlass_blob_trash SET due_at = 0 WHERE id = ?1
