-- Restores what the server lost with its newest writes: the record, or an attempt that is newer than it.
-- Compares: that the record is missing, or not over and older than the attempt. Sets: the record; the attempt
-- as running under a new lease. Who ran it is lost, and so is how the attempt before ended: it counts for nothing.
-- ARGV[2..7]: see record(); 8: the attempt, 0 if only the record is wanted. Returns 'restored'.

local job = read()
if not job.state then
    record()
    job = read()
end
if tonumber(job.attempt) < tonumber(ARGV[8]) and not over(job.state) then
    if job.state ~= 'queued' then
        leave(job)
        if job.state == 'running' then
            queue(job, 'awaiting_worker', QUEUED_EVENT, ended(job, 'interrupted', ''))
        else
            queue(job, 'awaiting_worker', QUEUED_EVENT)
        end
    end
    start(job, ARGV[8], UNKNOWN_WORKER, UNKNOWN_ISOLATION)
end
call('PUBLISH', WAKE, ID)
return 'restored'
