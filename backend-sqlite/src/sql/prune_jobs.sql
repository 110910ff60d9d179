-- ?1 to ?3 finished before this goes, by state; NULL keeps. ?4 limit
SELECT id, queue, kind, state, epoch FROM (
    SELECT id, queue, kind, state, epoch, finished_at FROM (
        SELECT id, queue, kind, state, epoch, finished_at FROM windlass_finished
        WHERE state = 5 AND finished_at <= ?1 ORDER BY finished_at LIMIT ?4)
    UNION ALL
    SELECT * FROM (
        SELECT id, queue, kind, state, epoch, finished_at FROM windlass_finished
        WHERE state = 6 AND finished_at <= ?2 ORDER BY finished_at LIMIT ?4)
    UNION ALL
    SELECT * FROM (
        SELECT id, queue, kind, state, epoch, finished_at FROM windlass_finished
        WHERE state = 7 AND finished_at <= ?3 ORDER BY finished_at LIMIT ?4)
) ORDER BY finished_at LIMIT ?4
