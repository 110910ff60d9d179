DELETE FROM windlass_blob_chunks WHERE at IN (
    SELECT at FROM windlass_blob_chunks WHERE at BETWEEN ?1 AND ?2 ORDER BY at LIMIT ?3
)
