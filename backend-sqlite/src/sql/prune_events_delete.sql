-- ?1 numbers
DELETE FROM windlass_events WHERE seq IN (SELECT value FROM json_each(?1));
UPDATE windlass_tick SET horizon = max(horizon, coalesce((SELECT max(value) FROM json_each(?1)), 0))
