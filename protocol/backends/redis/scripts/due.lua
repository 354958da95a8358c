-- Queues a scheduled job whose time has come.
-- Compares: state and run_at; a job that is past its deadline as well is left to expire.lua.
-- Sets: `queued` with a mark. Returns 'taken' or 'no'.

local run_at = tonumber(call('ZSCORE', DUE, ID))
local job = read()
if job.state ~= 'scheduled' then
    call('ZREM', DUE, ID)
    return 'no'
end
if not run_at or run_at > NOW or NOW >= job.deadline then return 'no' end
leave(job)
queue(job, 'awaiting_worker', QUEUED_EVENT)
return 'taken'
