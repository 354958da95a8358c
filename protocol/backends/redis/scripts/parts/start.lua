-- Starts `attempt` of a queued job and holds it for a lease. The job's mark stays, for `published` or the outbox sweep.
local function start(job, attempt, worker, isolation)
    call('ZADD', LEASES, string.format('%d', NOW + LEASE), ID)
    if job.appended > 0 then call('HDEL', JOB, 'appended') end
    call('HSET', JOB, 'state', 'running', 'seq', tell('state', attempt, RUNNING_EVENT), 'attempt', attempt,
        'start:' .. attempt, STAMP .. ' ' .. isolation .. ' ' .. worker)
    if job.followed then call('PUBLISH', WAKE, ID) end
end
