CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL
);
-- Of tokens only a digest is kept.
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES users (id),
    expires_at BIGINT NOT NULL
);
-- Whose a job is, and which request made it.
CREATE TABLE IF NOT EXISTS documents (
    job TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES users (id),
    digest TEXT NOT NULL,
    payload TEXT NOT NULL,
    idempotency_key TEXT,
    created_at BIGINT NOT NULL,
    UNIQUE (owner, idempotency_key)
);
