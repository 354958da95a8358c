-- What every job script starts with. Rust puts a table CONST in front of it: times in milliseconds, channels,
-- and the JSON texts that don't depend on the job (src/store/scripts.rs).
--
-- KEYS, the same for every script and all in one slot: the job (hash), its events (stream), and the indexes of
-- its shard (sorted sets). ARGV[1] is the job's id; the rest is each script's own; '' means "none".
-- Scripts check first and write afterwards, so that a refusal leaves nothing half done.

local JOB, EVENTS, OUTBOX, DUE, DEADLINES, LEASES, REPLIES, FINISHED, JOBS, DEAD = unpack(KEYS)
local ID = ARGV[1]
local TERMINAL = { succeeded = true, failed = true, expired = true, cancelled = true }

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The fields that decide; `state` is false if there is no such job.
local function read()
    local f = redis.call('HMGET', JOB, 'state', 'attempt', 'deadline', 'tenant', 'crashes', 'failures', 'cancel', 'reply')
    return {
        state = f[1],
        attempt = tonumber(f[2]) or 0,
        deadline = tonumber(f[3]) or 0,
        tenant = f[4] or '',
        crashes = tonumber(f[5]) or 0,
        failures = tonumber(f[6]) or 0,
        cancel = f[7],
        reply = f[8],
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

-- Wakes who watches the job, in every process.
local function wake()
    redis.call('PUBLISH', CONST.wake, ID)
end

-- Adds the job's next event.
local function add_event(kind, attempt, data)
    local seq = redis.call('HINCRBY', JOB, 'seq', 1)
    redis.call('XADD', EVENTS, seq .. '-0', 'k', kind, 't', NOW, 'n', attempt, 'd', data)
end

-- Adds a batch of the newest attempt, ARGV[from] on in pairs of kind and data, whose first event is the
-- attempt's `first`-th; skips those that are there already.
local function add_batch(job, first, from)
    if from > #ARGV then return end
    local appended = tonumber(redis.call('HGET', JOB, 'appended')) or 0
    local ordinal = first - 1
    for i = from, #ARGV, 2 do
        ordinal = ordinal + 1
        if ordinal > appended then
            add_event(ARGV[i], job.attempt, ARGV[i + 1])
            appended = ordinal
        end
    end
    redis.call('HSET', JOB, 'appended', appended)
end

-- The job waits for a worker, and must be published.
local function queue(job, reason, event)
    redis.call('HSET', JOB, 'state', 'queued', 'reason', reason)
    redis.call('HDEL', JOB, 'run_at')
    redis.call('ZREM', DUE, ID)
    redis.call('ZREM', LEASES, ID)
    redis.call('ZADD', OUTBOX, NOW, ID)
    redis.call('ZADD', DEADLINES, job.deadline, ID)
    add_event('state', job.attempt, event)
end

-- The job waits for a time.
local function schedule(job, reason, run_at, event)
    redis.call('HSET', JOB, 'state', 'scheduled', 'reason', reason, 'run_at', run_at)
    redis.call('ZREM', LEASES, ID)
    redis.call('ZADD', DUE, run_at, ID)
    redis.call('ZADD', DEADLINES, job.deadline, ID)
    add_event('state', job.attempt, event)
end

-- Makes the record of a new job: `queued`, or `scheduled` if its run_at is to come.
-- ARGV[2..7]: tenant, action, spec, deadline, run_at, reply ('1').
local function record()
    local tenant, run_at = ARGV[2], tonumber(ARGV[6])
    local job = { attempt = 0, deadline = ARGV[5] }
    redis.call('DEL', JOB, EVENTS)
    redis.call('HSET', JOB, 'tenant', tenant, 'action', ARGV[3], 'spec', ARGV[4], 'deadline', ARGV[5])
    if ARGV[7] ~= '' then redis.call('HSET', JOB, 'reply', ARGV[7]) end
    redis.call('ZADD', JOBS, 0, tenant .. ':' .. ID)
    if run_at and run_at > NOW then
        schedule(job, 'not_due', ARGV[6], CONST.not_due_event)
        return 'scheduled'
    end
    queue(job, 'awaiting_worker', CONST.queued_event)
    return 'queued'
end

-- Starts `attempt` and holds it for a lease.
local function start(attempt, worker)
    local a = 'a:' .. attempt
    redis.call('HSET', JOB, 'state', 'running', 'attempt', attempt, 'appended', 0, a .. ':w', worker, a .. ':s', NOW)
    redis.call('HDEL', JOB, 'reason', 'run_at')
    redis.call('ZREM', OUTBOX, ID)
    redis.call('ZADD', LEASES, NOW + CONST.lease, ID)
    add_event('state', attempt, CONST.running_event)
end

-- Records how the newest attempt ended, and counts it.
local function end_attempt(job, outcome, err)
    local a = 'a:' .. job.attempt
    redis.call('HSET', JOB, a .. ':e', NOW, a .. ':o', outcome)
    if err ~= '' then redis.call('HSET', JOB, a .. ':x', err) end
    if outcome == 'crashed' then
        job.crashes = redis.call('HINCRBY', JOB, 'crashes', 1)
    elseif outcome == 'failed' or outcome == 'timed_out' then
        job.failures = redis.call('HINCRBY', JOB, 'failures', 1)
    end
end

-- Ends the job for ever: the record, its last event, the indexes, and how long it is kept.
local function end_job(job, state, result, err, event, dead)
    redis.call('HSET', JOB, 'state', state, 'finished_at', NOW)
    if result ~= '' then redis.call('HSET', JOB, 'result', result) end
    if err ~= '' then redis.call('HSET', JOB, 'error', err) end
    redis.call('HDEL', JOB, 'reason', 'run_at')
    redis.call('ZREM', OUTBOX, ID)
    redis.call('ZREM', DUE, ID)
    redis.call('ZREM', DEADLINES, ID)
    redis.call('ZREM', LEASES, ID)
    add_event('result', job.attempt, event)
    local member = job.tenant .. ':' .. ID
    if dead then
        redis.call('HSET', JOB, 'dead', '1')
        redis.call('ZADD', DEAD, 0, member)
    end
    if job.reply then redis.call('ZADD', REPLIES, 0, ID) end
    redis.call('PEXPIRE', JOB, CONST.retention)
    redis.call('PEXPIRE', EVENTS, CONST.retention)
    redis.call('ZADD', FINISHED, NOW + CONST.retention, member)
    job.state = state
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
        job.state = 'queued'
    end
end
