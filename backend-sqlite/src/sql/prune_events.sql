-- ?1 entries up to this time go, ?2 limit. The entries of single jobs stay as long as their jobs.
SELECT seq FROM windlass_events WHERE job IS NULL AND at <= ?1 ORDER BY at, seq LIMIT ?2
