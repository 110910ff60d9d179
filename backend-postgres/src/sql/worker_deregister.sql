-- Ends a lease. The row goes after the last of its jobs, see maintain_workers.sql. $1 id
UPDATE windlass.workers AS w SET expires_at = windlass.now() WHERE w.id = $1 AND w.expires_at > windlass.now()
RETURNING w.id
