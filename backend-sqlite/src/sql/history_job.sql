SELECT kind, queue, trail FROM windlass_records WHERE id = ?1
