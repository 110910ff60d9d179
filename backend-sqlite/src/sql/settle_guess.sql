-- ?1 to ?4 the tick: an error unless it stands so
SELECT json_extract('{}', 'guessed wrong after ' || t.seq) FROM windlass_tick AS t
WHERE t.now <> ?1 OR t.seq <> ?2 OR t.turn <> ?3 OR t.config <> ?4
