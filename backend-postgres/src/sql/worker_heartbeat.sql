-- Extends a lease; no row when it has run out. $1 id: what time it was
UPDATE windlass.workers AS w SET expires_at = windlass.now() + w.lease WHERE w.id = $1 AND w.expires_at > windlass.now()
RETURNING w.expires_at - w.lease
