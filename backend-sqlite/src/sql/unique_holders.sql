-- ?1 keys, ?2 now: who holds each; `lost` when the holder runs under a worker without a lease
SELECT u.key, u.mode, u.until, j.id IS NOT NULL AND j.state = 3 AND coalesce(w.expires_at, 0) <= ?2, u.job,
    j.state
FROM json_each(?1) AS e CROSS JOIN windlass_unique AS u ON u.key = e.value
LEFT JOIN windlass_jobs AS j ON j.id = u.job
LEFT JOIN windlass_workers AS w ON w.id = j.worker
