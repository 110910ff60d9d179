-- ?1 ids
DELETE FROM windlass_outbox WHERE id IN (SELECT unhex(value) FROM json_each(?1))
