-- ?1 rows [key, job, mode, until or null]; the caller has made sure that the keys are free
INSERT OR REPLACE INTO windlass_unique (key, job, mode, until)
SELECT e.value ->> 0, unhex(e.value ->> 1), e.value ->> 2, e.value ->> 3 FROM json_each(?1) AS e
