-- $1 ids, $2 trails before and $3 after, $4 changes left. A trail that has grown meanwhile is left alone.
WITH cut AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS c (id, before, after)),
waiting AS (
    UPDATE windlass.jobs AS j SET trail = c.after, changes = $4 FROM cut AS c
    WHERE j.id = ANY ($1::uuid[]) AND j.id = c.id AND j.trail = c.before)
UPDATE windlass.finished AS f SET trail = c.after, changes = $4 FROM cut AS c
WHERE f.id = ANY ($1::uuid[]) AND f.id = c.id AND f.trail = c.before
