-- ?1 id, ?2 now: the row goes with its last job, see maintain_workers.sql
UPDATE windlass_workers SET expires_at = ?2 WHERE id = ?1 AND expires_at > ?2
