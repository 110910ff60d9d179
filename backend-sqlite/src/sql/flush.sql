-- ?1 entries [seq, at, job, offset, length], ?2 their bodies, ?3 counts [queue, kind, state, change], ?4 to ?7 the tick
INSERT INTO windlass_events (seq, at, job, body)
SELECT e.value ->> 0, e.value ->> 1, unhex(e.value ->> 2), CAST(substr(?2, e.value ->> 3, e.value ->> 4) AS TEXT)
FROM json_each(?1) AS e;
INSERT INTO windlass_counts (queue, kind, state, jobs)
SELECT e.value ->> 0, e.value ->> 1, e.value ->> 2, e.value ->> 3 FROM json_each(?3) AS e WHERE true
ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs;
UPDATE windlass_tick SET now = ?4, seq = ?5, turn = ?6, config = ?7
