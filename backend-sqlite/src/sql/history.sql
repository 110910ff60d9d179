-- ?1 job, ?2 number after which to look, ?3 limit
SELECT seq, at, job, body FROM windlass_events WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3
