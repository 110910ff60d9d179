-- Version 1 of the schema, continued: jobs on their way to another backend. `free_at` is when a relay may take the entry (again).
CREATE TABLE windlass.outbox (
    id        uuid    NOT NULL PRIMARY KEY,
    posted_at bigint  NOT NULL,
    free_at   bigint  NOT NULL,
    refusals  integer NOT NULL,
    error     text,
    body      bytea   NOT NULL
);
CREATE INDEX outbox_free ON windlass.outbox (free_at, id);
CREATE INDEX outbox_refused ON windlass.outbox (id) WHERE error IS NOT NULL;
