-- The job waits for a time.
local function schedule(job, reason, run_at, event, ...)
    call('ZADD', DUE, run_at, ID)
    job.state, job.why = 'scheduled', reason .. ':' .. run_at
    tell(job, 'state', job.attempt, event)
    save(job, ...)
    call('PUBLISH', WAKE, ID)
end
