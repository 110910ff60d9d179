-- Notes of the host's on a job in any state, locked before. $1 job, $2 notes to add
WITH waiting AS (UPDATE windlass.jobs SET notes = notes + $2 WHERE id = $1 RETURNING id),
final AS (UPDATE windlass.finished SET notes = notes + $2 WHERE id = $1 RETURNING id)
SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM final)
