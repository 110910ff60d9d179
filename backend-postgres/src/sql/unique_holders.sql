-- $1 keys, $2 now: who holds each. A holder is lost when it runs under a worker without a lease, and stale when it is gone, past its window,
-- or final without a window.
SELECT u.key, u.job, u.mode, j.state,
    j.state = 3 AND NOT EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = j.worker AND w.expires_at > $2) AS lost,
    coalesce(u.until <= $2, false) OR (j.id IS NULL AND (u.mode <> 2 OR u.until IS NULL)) AS stale
FROM windlass.unique_keys AS u LEFT JOIN windlass.jobs AS j ON j.id = u.job
WHERE u.key = ANY ($1::text[])
