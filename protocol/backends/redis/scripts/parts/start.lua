-- Starts `attempt` of a queued job and holds it for a lease. The job's mark stays, for `published` or the outbox sweep. Of the
-- first attempt the record tells the event as well.
local function start(job, attempt, worker, isolation)
    call('ZADD', LEASES, string.format('%d', NOW + LEASE), ID)
    if job.appended > 0 then call('HDEL', JOB, 'appended') end
    local seq = not job.told and attempt == '1' and '2' or tell(job, 'state', attempt, RUNNING_EVENT)
    call('HSET', JOB, 'state', 'running', 'seq', seq, 'attempt', attempt,
        'start:' .. attempt, STAMP .. ' ' .. isolation .. ' ' .. worker)
    if job.followed then call('PUBLISH', WAKE, ID) end
end
