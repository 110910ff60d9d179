INSERT INTO windlass_blobs (key, id, len, modified_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key) DO UPDATE SET id = excluded.id, len = excluded.len, modified_at = excluded.modified_at
