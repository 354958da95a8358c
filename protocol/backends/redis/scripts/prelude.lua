-- What every job script starts with. Rust puts a table CONST in front of it: times in milliseconds, channels,
-- and the JSON texts that don't depend on the job (src/store/scripts.rs).
--
-- KEYS, the same for every script and all in one slot: the job (hash), its events (list), and the indexes of
-- its shard (sorted sets). ARGV[1] is the job's id; the rest is each script's own. '' means "none", in
-- arguments and in fields.
--
-- A script reads, refuses or decides, and only then writes. Fields and events are gathered and written by
-- commit() in one command each: on the way of every job a command saved is time saved.

local JOB, EVENTS, OUTBOX, DUE, DEADLINES, LEASES, REPLIES, FINISHED, JOBS, DEAD = unpack(KEYS)
local ID = ARGV[1]
local TERMINAL = { succeeded = true, failed = true, expired = true, cancelled = true }

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The fields that decide; `state` is false if there is no such job.
local function read()
    local f = redis.call('HMGET', JOB, 'state', 'attempt', 'seq', 'deadline', 'tenant', 'appended', 'crashes',
        'failures', 'cancel', 'reply')
    return {
        state = f[1],
        attempt = tonumber(f[2]) or 0,
        seq = tonumber(f[3]) or 0,
        deadline = tonumber(f[4]) or 0,
        tenant = f[5] or '',
        appended = tonumber(f[6]) or 0,
        crashes = tonumber(f[7]) or 0,
        failures = tonumber(f[8]) or 0,
        cancel = f[9],
        reply = f[10],
    }
end

-- When the lease of the running attempt lapses.
local function lease()
    return tonumber(redis.call('ZSCORE', LEASES, ID)) or 0
end

-- Why `attempt` may not write: 'unknown' if it must be restored first, 'lost' if it is over; nil if it may.
local function refusal(job, attempt)
    if not job.state then return 'unknown' end
    if TERMINAL[job.state] or job.attempt > attempt then return 'lost' end
    if job.attempt < attempt then return 'unknown' end
    if job.state ~= 'running' then return 'lost' end
end

local fields, events = {}, {}

local function set(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
end

-- Adds the job's next event.
local function tell(kind, attempt, data)
    events[#events + 1] = kind .. ' ' .. NOW .. ' ' .. attempt .. ' ' .. data
end

-- Adds a batch of the newest attempt, ARGV[from] on in pairs of kind and data, whose first event is the
-- attempt's `first`-th; skips those that are there already.
local function add_batch(job, first, from)
    local ordinal = first - 1
    for i = from, #ARGV, 2 do
        ordinal = ordinal + 1
        if ordinal > job.appended then
            tell(ARGV[i], job.attempt, ARGV[i + 1])
            job.appended = ordinal
        end
    end
    if from <= #ARGV then set('appended', job.appended) end
end

-- Writes what was gathered.
local function save(job)
    if #events > 0 then
        for from = 1, #events, 1000 do
            redis.call('RPUSH', EVENTS, unpack(events, from, math.min(from + 999, #events)))
        end
        set('seq', job.seq + #events)
    end
    if #fields > 0 then redis.call('HSET', JOB, unpack(fields)) end
end

-- The same, and wakes who watches the job, in every process.
local function commit(job)
    save(job)
    redis.call('PUBLISH', CONST.wake, TERMINAL[job.state] and ID .. ' end' or ID)
end

-- Moves the job to another state, and takes it out of the index of the state it is in.
local function become(job, state, reason, run_at)
    if job.state == 'running' then
        redis.call('ZREM', LEASES, ID)
        -- expire.lua may have put it off by the grace of running jobs.
        if NOW >= job.deadline and not TERMINAL[state] then redis.call('ZADD', DEADLINES, job.deadline, ID) end
    elseif job.state == 'queued' then
        redis.call('ZREM', OUTBOX, ID)
    elseif job.state == 'scheduled' then
        redis.call('ZREM', DUE, ID)
    end
    set('state', state)
    set('reason', reason)
    set('run_at', run_at)
    job.state = state
end

-- The job waits for a worker, and must be published.
local function queue(job, reason, event)
    become(job, 'queued', reason, '')
    redis.call('ZADD', OUTBOX, NOW, ID)
    tell('state', job.attempt, event)
end

-- The job waits for a time.
local function schedule(job, reason, run_at, event)
    become(job, 'scheduled', reason, run_at)
    redis.call('ZADD', DUE, run_at, ID)
    tell('state', job.attempt, event)
end

-- Starts the job's record: `queued`, or `scheduled` if its run_at is to come.
-- ARGV[2..7]: tenant, action, spec, deadline, run_at, reply ('1').
local function record()
    local job = { state = false, attempt = 0, seq = 0, tenant = ARGV[2], deadline = tonumber(ARGV[5]), crashes = 0 }
    local run_at = tonumber(ARGV[6])
    set('tenant', ARGV[2])
    set('action', ARGV[3])
    set('spec', ARGV[4])
    set('deadline', ARGV[5])
    if ARGV[7] ~= '' then set('reply', ARGV[7]) end
    redis.call('ZADD', JOBS, 0, ARGV[2] .. ':' .. ID)
    redis.call('ZADD', DEADLINES, ARGV[5], ID)
    if run_at and run_at > NOW then
        schedule(job, 'not_due', ARGV[6], CONST.not_due_event)
    else
        queue(job, 'awaiting_worker', CONST.queued_event)
    end
    return job
end

-- Starts `attempt` and holds it for a lease.
local function start(job, attempt, worker, isolation)
    become(job, 'running', '', '')
    redis.call('ZADD', LEASES, NOW + CONST.lease, ID)
    job.attempt = attempt
    set('attempt', attempt)
    set('appended', 0)
    set('a:' .. attempt .. ':w', worker)
    set('a:' .. attempt .. ':i', isolation)
    set('a:' .. attempt .. ':s', NOW)
    tell('state', attempt, CONST.running_event)
end

-- Records how the newest attempt ended, and counts it.
local function end_attempt(job, outcome, err)
    local a = 'a:' .. job.attempt
    set(a .. ':e', NOW)
    set(a .. ':o', outcome)
    set(a .. ':x', err)
    if outcome == 'crashed' then
        job.crashes = job.crashes + 1
        set('crashes', job.crashes)
    elseif outcome == 'failed' or outcome == 'timed_out' then
        set('failures', job.failures + 1)
    end
end

-- Ends the job for ever: the record, its last event, the indexes, and how long it is kept.
local function end_job(job, state, result, err, event, dead)
    become(job, state, '', '')
    set('finished_at', NOW)
    set('result', result)
    set('error', err)
    tell('result', job.attempt, event)
    redis.call('ZREM', DEADLINES, ID)
    local member = job.tenant .. ':' .. ID
    redis.call('ZADD', FINISHED, NOW + CONST.retention, member)
    redis.call('PEXPIRE', JOB, CONST.retention)
    redis.call('PEXPIRE', EVENTS, CONST.retention)
    if job.reply then redis.call('ZADD', REPLIES, 0, ID) end
    if dead then
        set('dead', '1')
        redis.call('ZADD', DEAD, 0, member)
    end
end

-- Ends a job past its deadline; `err` and `event` name the deadline, so Rust makes them.
local function expire(job, err, event)
    end_job(job, 'expired', '', err, event, false)
end

local function give_up(job)
    end_job(job, 'failed', '', CONST.given_up_error, CONST.given_up_event, true)
end

local function cancel(job)
    end_job(job, 'cancelled', '', CONST.cancelled_error, CONST.cancelled_event, false)
end

-- Counts the running attempt, whose lease lapsed, as a crash, and decides how the job goes on.
local function lapse(job, expired_error, expired_event)
    end_attempt(job, 'crashed', CONST.crash_error)
    if NOW >= job.deadline then
        expire(job, expired_error, expired_event)
    elseif job.cancel then
        cancel(job)
    elseif job.crashes >= CONST.crashes then
        give_up(job)
    else
        queue(job, 'worker_lost', CONST.worker_lost_event)
    end
end
