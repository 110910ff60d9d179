-- $1 id: the upload is over, unless it is visible by now
UPDATE windlass.blob_trash SET due_at = 0 WHERE id = $1
