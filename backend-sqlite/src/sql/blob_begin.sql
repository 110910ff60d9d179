INSERT INTO windlass_blob_trash (due_at) VALUES (?1) RETURNING id
