INSERT OR REPLACE INTO windlass_queues (name, paused, concurrency, max_depth) VALUES (?1, ?2, ?3, ?4)
