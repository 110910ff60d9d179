-- ?1 now. Whether there is something to take.
SELECT EXISTS (SELECT 1 FROM windlass_outbox WHERE free_at <= ?1)
