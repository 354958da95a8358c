-- Restores what the server lost with its newest writes: the record, or an attempt that is newer than it.
-- Compares: that the record is missing, or not over and older than the attempt. Sets: the record; the attempt
-- as running under a new lease. Who ran it is lost, and so is how the attempt before ended: it counts for nothing.
-- ARGV[2..7]: see record(); 8: the attempt, 0 if only the record is wanted. Returns {'restored'}.

local attempt = tonumber(ARGV[8])
local job = read()
if not job.state then
    redis.call('DEL', EVENTS)
    job = record()
end
if job.attempt < attempt and not TERMINAL[job.state] then
    if job.state == 'running' then end_attempt(job, 'interrupted', '') end
    if job.state ~= 'queued' then queue(job, 'awaiting_worker', CONST.queued_event) end
    start(job, attempt, CONST.unknown_worker, CONST.unknown_isolation)
end
commit(job)
return { 'restored' }
