-- $1 ids, $2 bodies. Ids that are there are passed over.
INSERT INTO windlass.outbox (id, posted_at, free_at, refusals, body)
SELECT n.id, windlass.now(), windlass.now(), 0, n.body FROM unnest($1::uuid[], $2::bytea[]) AS n (id, body)
ON CONFLICT (id) DO NOTHING
