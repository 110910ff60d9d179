-- Workers without a lease go once no job runs under them any more.
DELETE FROM windlass.workers AS w WHERE w.expires_at <= windlass.now()
    AND NOT EXISTS (SELECT FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = w.id)
RETURNING w.id
