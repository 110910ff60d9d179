-- Version 1 of the schema, continued: blobs. The bytes stand in chunks under the blob's id; ids are never used again, so a reader that holds
-- one never meets another blob's bytes.
CREATE SEQUENCE windlass.blob_ids;

CREATE TABLE windlass.blobs (
    key         text   NOT NULL COLLATE "C" PRIMARY KEY,
    id          bigint NOT NULL,
    len         bigint NOT NULL,
    modified_at bigint NOT NULL,
    replaced    bigint  -- the id before: the only way by which the step that replaces a blob learns it, whoever wrote it meanwhile
);

CREATE TABLE windlass.blob_chunks (
    id     bigint  NOT NULL,
    number integer NOT NULL,
    bytes  bytea   NOT NULL,
    PRIMARY KEY (id, number)
);
-- What people store is mostly compressed already.
ALTER TABLE windlass.blob_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Ids whose chunks are nobody's: replaced and deleted blobs, given-up uploads (`due_at` is 0), and uploads under way, which put `due_at` off
-- with each chunk and leave the list in the step that makes them visible. Once it is 0 there is no way back: chunks may be gone.
CREATE TABLE windlass.blob_trash (
    id     bigint NOT NULL PRIMARY KEY,
    due_at bigint NOT NULL
);
CREATE INDEX blob_trash_due ON windlass.blob_trash (due_at);
