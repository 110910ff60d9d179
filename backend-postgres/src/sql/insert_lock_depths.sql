-- $1 queues: those with a maximum depth, locked until the commit so that two inserts can't both find the last place
SELECT name, max_depth FROM windlass.queues WHERE name = ANY ($1::text[]) AND max_depth IS NOT NULL ORDER BY name FOR NO KEY UPDATE
