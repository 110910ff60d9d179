-- $1 id, $2 number
SELECT c.bytes FROM windlass.blob_chunks AS c WHERE c.id = $1 AND c.number = $2
