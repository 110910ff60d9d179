-- ?1 rows: id, when it is free, reason of a refusal or null
UPDATE windlass_outbox AS o
SET free_at = e.value ->> 1, refusals = o.refusals + (e.value ->> 2 IS NOT NULL), error = coalesce(e.value ->> 2, o.error)
FROM json_each(?1) AS e WHERE o.id = unhex(e.value ->> 0)
