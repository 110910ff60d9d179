-- notes.sql for a final job, which reports no progress
UPDATE windlass_finished AS f SET notes = f.notes + (e.value ->> 1)
FROM json_each(?1) AS e WHERE f.id = unhex(e.value ->> 0)
