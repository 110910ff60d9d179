-- Of the next jobs by id, the ids of those that pass a filter; the last one looked at comes back in any case, as not passing, with how many were.
-- $1 after which one, $2 how many to look at, $3 states, $4 queues, $5 kinds, $6 tags (any when empty), $7 unique key
WITH looked AS MATERIALIZED (
    SELECT l.id FROM (
        (SELECT id FROM windlass.jobs WHERE id > $1 ORDER BY id LIMIT $2)
        UNION ALL
        (SELECT id FROM windlass.finished WHERE id > $1 ORDER BY id LIMIT $2)) AS l
    ORDER BY l.id LIMIT $2)
SELECT r.id, true, 0::bigint FROM windlass.records AS r
WHERE r.id = ANY (ARRAY(SELECT id FROM looked))
    AND ($3::smallint[] = '{}' OR r.state = ANY ($3))
    AND ($4::text[] = '{}' OR r.queue = ANY ($4))
    AND ($5::text[] = '{}' OR r.kind = ANY ($5))
    AND ($6::text[] = '{}' OR r.tags @> $6)
    AND ($7::text IS NULL OR r.unique_key = $7)
UNION ALL
(SELECT l.id, false, (SELECT count(*) FROM looked) FROM looked AS l ORDER BY l.id DESC LIMIT 1)
