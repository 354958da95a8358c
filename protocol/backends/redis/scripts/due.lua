-- Queues a scheduled job whose time has come.
-- Compares: state and run_at; a job that is past its deadline as well is left to expire.lua.
-- Sets: `queued` with a mark. Returns {'taken'} or {'no'}.

local run_at = tonumber(redis.call('ZSCORE', DUE, ID))
local job = read()
if job.state ~= 'scheduled' then
    redis.call('ZREM', DUE, ID)
    return { 'no' }
end
if not run_at or run_at > NOW or NOW >= job.deadline then return { 'no' } end
queue(job, 'awaiting_worker', CONST.queued_event)
commit(job)
return { 'taken' }
