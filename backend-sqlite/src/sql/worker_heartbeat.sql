-- ?1 id, ?2 now
UPDATE windlass_workers SET expires_at = ?2 + lease WHERE id = ?1 AND expires_at > ?2
