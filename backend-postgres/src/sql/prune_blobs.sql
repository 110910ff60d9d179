-- $1 now, $2 limit: blobs to be deleted that no job refers to. Those that were named before come first.
SELECT d.key, d.due_at > 0 FROM windlass.blobs_doomed AS d
WHERE d.due_at <= $1 AND (SELECT b.job FROM windlass.job_blobs AS b WHERE b.key = d.key LIMIT 1) IS NULL
ORDER BY d.due_at, d.key LIMIT $2
