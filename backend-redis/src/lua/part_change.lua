-- A user's changes, as `changed` in core/src/machine.rs says them.
local function cancel(job, change)
  local s = job.s
  if s[STATE] == RUNNING then
    if s[CANCELLING] == 1 then return false end
    index(job, false)
    s[CANCELLING] = 1
    index(job, true)
    single(job, change[3])
    hints[job.b[QUEUE]] = true
    touch(job)
    return true
  end
  if final(s[STATE]) then return false end
  apply(job, cancelled(s), 6, change[2] ~= '' and failure(s[ATTEMPT], change[2]) or nil)
  return true
end

-- A final job runs again unless another one holds its key by now. Its result goes.
local function revive(job)
  local s, key = job.s, job.b[UNIQUE]
  if key ~= '' then
    local holder = holder_of(key)
    if holder and holder ~= job.id then return false end
  end
  besides(job).no_result = true
  uses.HDEL = job.key
  if job.x then
    refer(cmsgpack.unpack(job.x), -1)
    job.x = nil
  end
  local to = waiting(s, AVAILABLE, 0)
  to.most = math.max(s[MOST], s[ATTEMPT] + 1)
  to.crashes, to.snoozes, to.cancelling = 0, 0, 0
  apply(job, to, 6)
  return true
end

local function change_one(job, change, delay)
  local state = job.s[STATE]
  if change[1] == 0 then return cancel(job, change) end
  if change[1] == 4 and state == COMPLETED then return false end
  if change[1] == 1 or change[1] == 4 then
    if final(state) then return revive(job) end
    if state ~= SCHEDULED and state ~= RETRYABLE then return false end
    apply(job, waiting(job.s, AVAILABLE, 0), 6)
    return true
  end
  if change[1] == 2 then
    if state ~= SCHEDULED and state ~= AVAILABLE and state ~= RETRYABLE then return false end
    apply(job, waiting(job.s, SCHEDULED, delay), 6)
    return true
  end
  if state == RUNNING then return false end
  -- The cause of an entry of deletions is 100.
  fact(job, state, 100)
  remove(job, 'deleted')
  return true
end
