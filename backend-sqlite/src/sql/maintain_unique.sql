-- ?1 now, ?2 limit
DELETE FROM windlass_unique WHERE key IN (SELECT key FROM windlass_unique WHERE until <= ?1 LIMIT ?2)
