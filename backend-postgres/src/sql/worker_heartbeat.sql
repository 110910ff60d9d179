-- Extends leases; no row for one that has run out. $1 ids: which, and what time it was
UPDATE windlass.workers AS w SET expires_at = windlass.now() + w.lease
WHERE w.id = ANY ($1::uuid[]) AND w.expires_at > windlass.now()
RETURNING w.id, w.expires_at - w.lease
