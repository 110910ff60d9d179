-- ?1 now, ?2 limit. Those that were named before come first.
SELECT d.key, d.due_at > 0 FROM windlass_blobs_doomed AS d
WHERE d.due_at <= ?1 AND NOT EXISTS (SELECT 1 FROM windlass_job_blobs AS b WHERE b.key = d.key)
ORDER BY d.due_at, d.key LIMIT ?2
