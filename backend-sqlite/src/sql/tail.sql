SELECT seq, at, job, body FROM windlass_events ORDER BY seq DESC LIMIT 1
