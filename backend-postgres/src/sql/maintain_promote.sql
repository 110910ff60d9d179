-- Makes jobs whose time has come available, in the order of their times. $1 at most so many, $2 due after this time
WITH clock AS MATERIALIZED (SELECT windlass.now() AS now),
due AS MATERIALIZED (
    SELECT j.id, j.state, j.priority, j.due_at, j.epoch FROM windlass.jobs AS j
    WHERE j.state IN (1, 4) AND j.due_at > $2 AND j.due_at <= (SELECT now FROM clock)
    ORDER BY j.due_at, j.id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED),
placed AS MATERIALIZED (
    SELECT d.id, d.state, d.epoch, d.priority * 140737488355328 + nextval('windlass.turn') AS rank
    FROM (SELECT * FROM due ORDER BY due_at, id OFFSET 0) AS d),
entry AS MATERIALIZED (
    SELECT windlass.next_entry() AS seq, c.now FROM clock AS c WHERE (SELECT count(*) FROM placed) > 0),
moved AS (
    UPDATE windlass.jobs AS j SET state = 2, rank = p.rank, changes = j.changes + 1,
        trail = j.trail || ',[' || e.seq || ',' || e.now || ',' || p.state || ',2,' || j.attempt || ',2]'
    FROM placed AS p, entry AS e
    WHERE j.id = ANY (ARRAY(SELECT id FROM placed)) AND j.id = p.id AND j.state = p.state AND j.epoch = p.epoch
    RETURNING j.id, j.queue, j.kind, j.attempt, p.state AS was, j.changes),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs)
    SELECT s.queue, s.kind, s.state, s.jobs FROM (
        SELECT queue, kind, was AS state, -count(*) AS jobs FROM moved GROUP BY 1, 2, 3
        UNION ALL
        SELECT queue, kind, 2::smallint, count(*) FROM moved GROUP BY 1, 2) AS s (queue, kind, state, jobs)),
told AS (
    INSERT INTO windlass.events (seq, at, body)
    SELECT e.seq, e.now, '{"c":2,"n":[],"w":[],"j":[' || (
        SELECT string_agg('["' || replace(m.id::text, '-', '') || '","' || m.kind || '","' || m.queue || '",' || m.was || ',2,' || m.attempt
            || ',-1]', ',' ORDER BY m.id)
        FROM moved AS m) || '],"e":[]}'
    FROM entry AS e)
SELECT m.id, m.queue, m.changes FROM moved AS m
