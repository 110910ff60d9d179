-- $1 from and $2 below which key, $3 after which one, $4 limit
SELECT b.key, b.len, b.modified_at FROM windlass.blobs AS b
WHERE b.key >= $1 AND b.key < $2 AND b.key > $3 ORDER BY b.key LIMIT $4
