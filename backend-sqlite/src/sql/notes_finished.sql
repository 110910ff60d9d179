-- notes.sql for a final job, which reports no progress
UPDATE windlass_finished AS f SET notes = f.notes + (e.value ->> 4)
FROM json_each(?1) AS e
WHERE f.id = unhex(e.value ->> 0) AND f.state = (e.value ->> 1) AND f.epoch = (e.value ->> 2)
