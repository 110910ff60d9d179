-- $1 ids, $2 delays, $3 reasons of refusals or NULL
UPDATE windlass.outbox AS o
SET free_at = windlass.now() + b.delay, refusals = o.refusals + (b.refusal IS NOT NULL)::integer, error = coalesce(b.refusal, o.error)
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS b (id, delay, refusal)
WHERE o.id = b.id AND o.id = ANY ($1::uuid[])
