-- Ends a job past its deadline: at once if it doesn't run, else after the grace.
-- Compares: state and deadline. Sets: the end. A running job comes up again when its grace is over; the entry of a record
-- without a state is dropped.
-- ARGV: 2 error of an expired job, 3 its entry. Returns 'taken' if it ended, or 'no'.

local job = read()
if not job.state then call('ZREM', ENDS, ARGV[3]) end
if not job.state or over(job.state) or NOW < job.deadline then return 'no' end
if job.state ~= 'running' then
    expire(job, ARGV[2])
    return 'taken'
end
local patience = job.deadline + GRACE
if NOW < patience then
    call('ZADD', ENDS, patience, job.tenant .. ':' .. ID)
    return 'no'
end
expire(job, ARGV[2], ended(job, 'timed_out', ARGV[2]))
return 'taken'
