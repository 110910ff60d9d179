-- ?1 keys that are named for deletion, which can be confirmed from now on
UPDATE windlass_blobs_doomed SET due_at = 0 WHERE key IN (SELECT value FROM json_each(?1))
