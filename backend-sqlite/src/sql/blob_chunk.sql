INSERT INTO windlass_blob_chunks (at, bytes) VALUES (?1, ?2)
