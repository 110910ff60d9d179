-- ?1 keys, ?2 when they are to be deleted
INSERT INTO windlass_blobs_doomed (key, due_at) SELECT e.value, ?2 FROM json_each(?1) AS e WHERE true
ON CONFLICT DO UPDATE SET due_at = max(due_at, excluded.due_at)
