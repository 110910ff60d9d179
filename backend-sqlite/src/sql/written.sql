-- ?1 how many rows the statement before this one is to have written: unless it wrote just these, an error that says so
SELECT json_extract('{}', 'wrote ' || changes() || ' of ' || ?1 || ' rows') WHERE changes() <> ?1
