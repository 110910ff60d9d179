SELECT bytes FROM windlass_blob_chunks WHERE at = ?1
