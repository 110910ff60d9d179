-- Notes: each is two values, its event body as JSON and, for progress, the progress alone, else an empty text.
local function has_room(job, count) return count == 0 or job.s[NOTES] + count <= NOTES_KEPT end

local function add_notes(job, from, count)
  for n = 0, count - 1 do
    single(job, ARGV[from + n * 2])
    local progress = ARGV[from + n * 2 + 1]
    if progress ~= '' then besides(job).p = progress end
  end
  if count > 0 then
    job.s[NOTES] = job.s[NOTES] + count
    touch(job)
  end
end
