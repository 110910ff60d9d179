-- $1 ids
DELETE FROM windlass.outbox WHERE id = ANY ($1::uuid[])
