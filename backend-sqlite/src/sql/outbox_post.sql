-- ?1 rows: id, offset and length of the body; ?2 bodies, ?3 now
INSERT INTO windlass_outbox (id, posted_at, free_at, refusals, body)
SELECT unhex(e.value ->> 0), ?3, ?3, 0, substr(?2, e.value ->> 1, e.value ->> 2) FROM json_each(?1) AS e WHERE true
ON CONFLICT (id) DO NOTHING
