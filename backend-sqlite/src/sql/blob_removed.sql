DELETE FROM windlass_blob_trash WHERE id = ?1
