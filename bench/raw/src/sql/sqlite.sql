-- As windlass-sqlite has it.
PRAGMA wal_autocheckpoint = 2000;
CREATE TABLE IF NOT EXISTS raw_jobs (
    id         BLOB NOT NULL PRIMARY KEY,
    state      INTEGER NOT NULL,
    queue      INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    claim_id   BLOB,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    args       BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS raw_ready ON raw_jobs (queue, id) WHERE state = 2;
CREATE INDEX IF NOT EXISTS raw_running ON raw_jobs (started_at) WHERE state = 3;
CREATE TABLE IF NOT EXISTS raw_finished (
    id          BLOB NOT NULL PRIMARY KEY,
    queue       INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    claim_id    BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    args        BLOB NOT NULL
) WITHOUT ROWID;
