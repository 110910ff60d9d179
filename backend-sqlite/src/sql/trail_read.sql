SELECT j.id, j.trail FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j ON j.id = unhex(e.value)
