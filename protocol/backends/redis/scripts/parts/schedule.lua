-- The job waits for a time.
local function schedule(job, reason, run_at, event, ...)
    call('ZADD', DUE, run_at, ID)
    job.state = 'scheduled'
    call('HSET', JOB, 'state', 'scheduled ' .. reason .. ' ' .. run_at, 'seq', tell(job, 'state', job.attempt, event), ...)
    call('PUBLISH', WAKE, ID)
end
