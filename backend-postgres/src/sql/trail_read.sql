-- $1 ids: trails to be cut
SELECT id, trail FROM windlass.jobs WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT id, trail FROM windlass.finished WHERE id = ANY ($1::uuid[])
