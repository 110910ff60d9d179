-- $1 ids: those that are stored already
SELECT id FROM windlass.jobs WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT id FROM windlass.finished WHERE id = ANY ($1::uuid[])
