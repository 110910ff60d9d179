-- ?1 ids, ?2 to ?5 the tick: an error unless the tick stands so, no job is stored under one of the ids, and no queue has a maximum
-- depth
SELECT json_extract('{}', 'guessed wrong after ' || t.seq) FROM windlass_tick AS t
WHERE t.now <> ?2 OR t.seq <> ?3 OR t.turn <> ?4 OR t.config <> ?5
   OR EXISTS (SELECT 1 FROM windlass_queues WHERE max_depth IS NOT NULL)
   OR EXISTS (SELECT 1 FROM json_each(?1) AS e WHERE EXISTS (SELECT 1 FROM windlass_jobs WHERE id = unhex(e.value))
       OR EXISTS (SELECT 1 FROM windlass_finished WHERE id = unhex(e.value)))
