-- The short way of jobs that were inserted the short way, while nothing else happens to them: in a claim, and in a completion that brings nothing. What is
-- stored is cut and put together again, not taken apart. Such a job has no unique key and no request to cancel.
-- What changes of it begins with a mark, which no other writer of it uses. It says what stands at the end, told backwards; a wide number has 9 bytes.
-- Of a job that waits: 4 small numbers, the last of them its changes; its place, wide; 4 bytes for no start, finish, worker and claim.
-- Of one that runs: 1; its deadline, wide; notes and changes; its place, wide; claim id and worker, 17 each; 1 for no finish; its start, wide.
-- Of both: when it is due, and when it was created, both wide.
local wide, way_for, move
-- A block of its own: Lua counts the locals of a script.
do
  local MARK = '\221\0\0\0\18'
  local ways, run = {}, nil

  -- A wide number.
  function wide(n) return '\207' .. pack('>I8', n) end

  -- What is the same for jobs that share what came with them and what stands first in what changes; false for those that can't go the short way.
  local function make_way(row, from, to, cause, worker)
    local fine, s = pcall(sound, row[1])
    local b = body_of(row[2])
    if not fine or not s or not b or sub(row[1], 1, 5) ~= MARK then return false end
    if s[STATE] ~= from or s[CANCELLING] ~= 0 or s[UNTIL] ~= 0 or quarantined(s) then return false end
    if b[UNIQUE] ~= '' or s[CHANGES] >= math.max(CHANGES_KEPT, 2) then return false end
    if s[DEADLINE] > 0 ~= (from == RUNNING and b[TIMEOUT] > 0) then return false end
    local more = to == RUNNING and 1 or 0
    local epoch, attempt = s[EPOCH] + more, s[ATTEMPT] + more
    if epoch > 4294967295 or attempt > 4294967295 then return false end
    local front = cmsgpack.pack({ to, epoch, attempt, s[MOST], s[SNOOZES], s[CRASHES], 0 })
    local small = cmsgpack.pack({ s[CHANGES], s[CHANGES] + 1, s[NOTES] })
    if #small ~= 4 then return false end
    local deadline = to == RUNNING and b[TIMEOUT] > 0 and after(b[TIMEOUT]) or 0
    if not quick then
      quick = { seq = next_seq(), cause = cause, runs = {}, names = { at = {} }, workers = { at = {} } }
    end
    local said = format(',\n[%s,%s,%d,%d,%d,%d', int(quick.seq), int(now), from, to, attempt, cause)
    if worker then said = said .. ',"' .. hex(worker) .. '"' end
    return { b = b, names = names_of(b), from = from, to = to, attempt = attempt, fence = pack('>I4', epoch), said = said .. ']',
      front = MARK .. sub(front, 2),
      was = sub(small, 2, 2) .. sub(small, 4), last = sub(small, 3) .. (to == RUNNING and wide(deadline) or '\0') .. '\0', late = deadline + GRACE }
  end

  -- The way of a job by its row, of which so many bytes at the end are its own; at `counts` from there stand its changes and notes.
  function way_for(row, own, counts, from, to, cause, worker)
    local packed, raw = row[1], row[2]
    if not packed or not raw or not row[3] or row[3] == '' then return false end
    local alike = ways[raw]
    if not alike then
      alike = {}
      ways[raw] = alike
    end
    local front = sub(packed, 1, -own - 1)
    local way = alike[front]
    if way == nil then
      way = make_way(row, from, to, cause, worker)
      alike[front] = way
    end
    return way and sub(packed, -counts, 1 - counts) == way.was and way
  end

  -- Notes a job that goes the short way.
  function move(id, way, worker)
    if not run or run.way ~= way or run.worker ~= worker then
      run = { way = way, worker = worker, jobs = 0 }
      quick.runs[#quick.runs + 1] = run
    end
    run.jobs = run.jobs + 1
    moved[#moved + 1] = id
  end
end
