#!lua
-- Inserts jobs: all or none.
-- KEYS: the namespace.
-- ARGV: the limits (msgpack array: errors, changes, notes, farthest delay in seconds), then each job's head, body and args.
-- Returns: for each job one byte (0 new, 1 duplicate, 2 replaced, 3 rejected), followed by the other job's id for all but 0, in one text;
-- or {'delay', seconds} or {'full', queue, maximum depth}, and nothing is inserted.
--@ base writes jobs keys machine insert
limits(ARGV[1])
local new = read_new(2, (#ARGV - 1) / 3)
local answers, why, what, depth = plan(new)
-- Nothing is written then: lost holders of keys stay as they are.
if not answers then return { why, what, depth } end
insert_all(new, answers)
if #dirty > 0 then flush() end
local texts = {}
for n = 1, #answers do
  texts[n] = string.char(answers[n][1]) .. (answers[n][1] == NEW and '' or answers[n][2])
end
return table.concat(texts)
