-- Where the versions of the schema are kept. `$schema$` stands for its name. A schema that is there is used as it is: a role that may not create schemas can
-- be given one.
DO $$ BEGIN
    IF to_regnamespace('"$schema$"') IS NULL THEN
        CREATE SCHEMA "$schema$";
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS windlass.migrations (
    version    integer     NOT NULL PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
