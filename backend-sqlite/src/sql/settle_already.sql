-- ?1 keys [job, epoch, claim id]: jobs that are final under this very fence
SELECT f.id, f.state FROM json_each(?1) AS e CROSS JOIN windlass_finished AS f
ON f.id = unhex(e.value ->> 0) AND f.epoch = (e.value ->> 1) AND f.claim_id = unhex(e.value ->> 2)
