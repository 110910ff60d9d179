-- The state machine, as core/src/machine.rs says it. Each function answers what `apply` takes, or nil where the step does not apply.
local function stays(s, state)
  return { state = state, attempt = s[ATTEMPT], most = s[MOST], snoozes = s[SNOOZES], crashes = s[CRASHES],
    cancelling = s[CANCELLING] }
end

local function waiting(s, state, delay)
  local to = stays(s, delay == 0 and AVAILABLE or state)
  to.due_in = delay
  return to
end

local function cancelled(s)
  local to = stays(s, CANCELLED)
  to.cancelling = 0
  return to
end

-- outcome: 0 completed, 1 retry, 2 discarded, 3 cancelled, 4 snoozed, 5 released.
local function settled(s, outcome, delay)
  local to
  if outcome == 0 then
    to = stays(s, COMPLETED)
    to.cancelling = 0
  elseif outcome == 3 or s[CANCELLING] == 1 then
    to = cancelled(s)
    if outcome >= 4 then to.attempt = math.max(to.attempt - 1, 0) end
  elseif outcome == 1 then
    to = waiting(s, RETRYABLE, delay)
  elseif outcome == 2 then
    to = stays(s, DISCARDED)
  else
    to = waiting(s, SCHEDULED, outcome == 4 and delay or 0)
    to.attempt = math.max(to.attempt - 1, 0)
    if outcome == 4 then to.snoozes = to.snoozes + 1 end
  end
  return to
end

local MOST_CRASHES = 3
local WORKER_LOST = '"kind":"crash","message":"the worker was lost: its lease ran out"'
local DEADLINE_PASSED = '"kind":"timeout","message":"the attempt passed its deadline and its worker did not end it"'

-- pauses: the delays before the next attempt after 1, 2, … attempts that passed their deadline.
local function rescue(job, lost, pauses)
  local s = job.s
  if s[STATE] ~= RUNNING then return false end
  local crashes = s[CRASHES] + (lost and 1 or 0)
  local to
  if s[CANCELLING] == 1 then
    to = cancelled(s)
  elseif s[ATTEMPT] >= s[MOST] or crashes >= MOST_CRASHES then
    to = stays(s, DISCARDED)
  elseif lost then
    to = waiting(s, AVAILABLE, 0)
  else
    to = waiting(s, RETRYABLE, pauses[math.max(1, math.min(s[ATTEMPT], #pauses))])
  end
  to.crashes, to.bump = crashes, true
  job.rescued = true
  local err = failure(s[ATTEMPT], lost and WORKER_LOST or DEADLINE_PASSED)
  keep_error(job, err)
  apply(job, to, 5, err, s[WORKER])
  return true
end

-- Who holds a key against others. A holder that is lost is rescued first: it may be given up by that.
-- finishing: a job that finishes in the same step; what it holds until then is free, and its fence alone says whose it is.
local function holder_of(key, finishing)
  local id, mode, till = holding(key)
  if not id or (mode == HELD_WINDOW and till <= now) then return nil end
  local job = load(id)
  if id ~= finishing and job and job.s[STATE] == RUNNING and not alive(job.s[WORKER]) then
    rescue(job, true)
    id, mode, till = holding(key)
    if not id then return nil end
  end
  -- A window outlives its job.
  if job == nil and mode ~= HELD_WINDOW then return nil end
  if id == finishing and mode ~= HELD_WINDOW then return nil end
  return id
end
