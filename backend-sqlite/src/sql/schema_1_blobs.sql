-- Version 1 of the schema, continued: blobs. The bytes stand in chunks under the blob's id; ids are never used again, so a reader that holds
-- one never meets another blob's bytes.
CREATE TABLE windlass_blobs (
    key         TEXT    NOT NULL PRIMARY KEY,
    id          INTEGER NOT NULL,
    len         INTEGER NOT NULL,
    modified_at INTEGER NOT NULL
) WITHOUT ROWID;

-- `at` is the blob's id in the high bits and the chunk's number in the lower 20.
CREATE TABLE windlass_blob_chunks (
    at    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
);

-- Ids whose chunks are nobody's: replaced and deleted blobs, given-up uploads (`due_at` is 0), and uploads under
-- way, which put `due_at` off with each chunk and leave the list in the step that makes them visible. Once
-- it is 0 there is no way back: chunks may be gone.
CREATE TABLE windlass_blob_trash (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at INTEGER NOT NULL
);
CREATE INDEX windlass_blob_trash_due ON windlass_blob_trash (due_at);
