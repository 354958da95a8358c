-- Starts `attempt` of a queued job and holds it for a lease. The job's mark stays, for `published` or the outbox sweep. Of the
-- first attempt the record tells the event as well.
local function start(job, attempt, worker, isolation)
    call('ZADD', LEASES, string.format('%d', NOW + LEASE), ID)
    job.state, job.why, job.attempt, job.appended = 'running', '-', attempt, '0'
    if not job.told and attempt == '1' then
        job.seq = '2'
    else
        tell(job, 'state', attempt, RUNNING_EVENT)
    end
    save(job, 'start:' .. attempt, STAMP .. ' ' .. isolation .. ' ' .. worker)
    if job.followed then call('PUBLISH', WAKE, ID) end
end
