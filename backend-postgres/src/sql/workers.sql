-- Workers, and how many jobs run under each
SELECT w.id, w.name, w.queues, w.started_at, w.expires_at,
    (SELECT count(*) FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = w.id)
FROM windlass.workers AS w ORDER BY w.id
