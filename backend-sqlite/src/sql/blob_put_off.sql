UPDATE windlass_blob_trash SET due_at = ?2 WHERE id = ?1 AND due_at > 0
