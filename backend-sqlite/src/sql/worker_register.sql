-- ?1 id, ?2 name, ?3 queues, ?4 lease, ?5 now, ?6 end of the lease. Changes nothing when the lease has run out.
INSERT INTO windlass_workers (id, name, queues, lease, started_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET name = ?2, queues = ?3, lease = ?4, expires_at = ?6 WHERE expires_at > ?5
