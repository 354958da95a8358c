-- The job waits for a worker, and must be published. What follows are further fields, for all moves.
local function queue(job, reason, event, ...)
    call('ZADD', OUTBOX, STAMP, ID)
    job.state = 'queued'
    call('HSET', JOB, 'state', 'queued ' .. reason, 'seq', tell(job, 'state', job.attempt, event), ...)
    call('PUBLISH', WAKE, ID)
end
