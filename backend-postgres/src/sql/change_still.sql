-- Those of some locked jobs that pass a filter. $1 ids, $2 states, $3 queues, $4 kinds, $5 tags (any when empty), $6 unique key
SELECT r.id FROM windlass.records AS r
WHERE r.id = ANY ($1::uuid[])
    AND ($2::smallint[] = '{}' OR r.state = ANY ($2))
    AND ($3::text[] = '{}' OR r.queue = ANY ($3))
    AND ($4::text[] = '{}' OR r.kind = ANY ($4))
    AND ($5::text[] = '{}' OR r.tags @> $5)
    AND ($6::text IS NULL OR r.unique_key = $6)
