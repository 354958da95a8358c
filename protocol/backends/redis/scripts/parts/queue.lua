-- The job waits for a worker, and must be published. What follows are further fields, for all moves.
local function queue(job, reason, event, ...)
    call('ZADD', OUTBOX, STAMP, ID)
    job.state, job.why = 'queued', reason
    tell(job, 'state', job.attempt, event)
    save(job, ...)
    call('PUBLISH', WAKE, ID)
end
