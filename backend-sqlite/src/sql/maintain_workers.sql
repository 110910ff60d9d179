-- ?1 now: workers without a lease go once no job runs under them any more
DELETE FROM windlass_workers WHERE expires_at <= ?1
    AND NOT EXISTS (SELECT 1 FROM windlass_jobs AS j WHERE j.state = 3 AND j.worker = windlass_workers.id)
