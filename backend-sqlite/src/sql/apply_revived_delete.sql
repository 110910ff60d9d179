DELETE FROM windlass_finished WHERE id IN (SELECT unhex(e.value ->> 0) FROM json_each(?1) AS e)
