-- Locks the settings of a queue, which are made when there are none; whether they were comes last. $1 name
INSERT INTO windlass.queues AS q (name, paused) VALUES ($1, false)
ON CONFLICT (name) DO UPDATE SET paused = q.paused
RETURNING q.name, q.paused, q.concurrency, q.max_depth, q.xmax = 0
