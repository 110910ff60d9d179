SELECT 1 FROM windlass_blob_trash WHERE due_at <= (SELECT now FROM windlass_tick) LIMIT 1
