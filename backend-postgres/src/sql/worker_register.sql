-- Grants a lease, or extends one; no row when it has run out. $1 id, $2 name, $3 queues, $4 lease
INSERT INTO windlass.workers AS w (id, name, queues, lease, started_at, expires_at)
SELECT $1, $2, $3::text[], $4, c.now, c.now + $4 FROM (SELECT windlass.now()) AS c (now)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, queues = excluded.queues, lease = excluded.lease, expires_at = excluded.expires_at
    WHERE w.expires_at > excluded.started_at
RETURNING w.id
