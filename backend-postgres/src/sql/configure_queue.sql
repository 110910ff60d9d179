-- Settings of a queue, locked before. $1 name, $2 pause, $3 concurrency, $4 maximum depth
UPDATE windlass.queues SET paused = $2, concurrency = $3, max_depth = $4 WHERE name = $1
