-- Ends a running attempt whose lease lapsed.
-- Compares: state and lease. Sets: the crash, and what becomes of the job.
-- ARGV: 2 error of an expired job. Returns 'taken' if the job is queued again, or 'no'.

local job = read()
if job.state ~= 'running' then
    call('ZREM', LEASES, ID)
    return 'no'
end
if lease() > NOW then return 'no' end
lapse(job, ARGV[2])
return job.state == 'queued' and 'taken' or 'no'
