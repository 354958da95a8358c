-- Takes the job out of the index of the state that it is in.
local function leave(job)
    if job.state == 'running' then
        call('ZREM', LEASES, ID)
        -- expire.lua may have put it off by the grace of running jobs.
        if NOW >= job.deadline then call('ZADD', ENDS, job.deadline, job.tenant .. ':' .. ID) end
    elseif job.state == 'queued' then
        call('ZREM', OUTBOX, ID)
    elseif job.state == 'scheduled' then
        call('ZREM', DUE, ID)
    end
end
