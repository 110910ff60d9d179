CREATE TABLE IF NOT EXISTS raw_jobs (
    id         uuid PRIMARY KEY,
    state      smallint NOT NULL DEFAULT 2,
    queue      bigint NOT NULL,
    epoch      bigint NOT NULL DEFAULT 0,
    claim_id   uuid,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    started_at timestamptz,
    args       bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS raw_ready ON raw_jobs (queue, id) WHERE state = 2;
CREATE INDEX IF NOT EXISTS raw_running ON raw_jobs (started_at) WHERE state = 3;
CREATE TABLE IF NOT EXISTS raw_finished (
    id          uuid PRIMARY KEY,
    queue       bigint NOT NULL,
    epoch       bigint NOT NULL,
    claim_id    uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    args        bytea NOT NULL
);
