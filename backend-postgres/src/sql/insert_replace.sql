-- Gives the contents of a new job to the waiting holder of its unique key, see the function
SELECT windlass.replace_holder($1::uuid, $2::smallint, $3::text, $4::text, $5::smallint, $6::bigint, $7::bigint, $8::integer, $9::bigint,
    $10::text, $11::text, $12::smallint, $13::bytea, $14::text, $15::smallint, $16::bigint, $17::text, $18::integer, $19::bigint)
