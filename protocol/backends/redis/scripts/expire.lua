-- Ends a job past its deadline: at once if it doesn't run, else after the grace.
-- Compares: state and deadline. Sets: the end. A running job comes up again when its grace is over.
-- ARGV: 2 and 3 error and event of an expired job. Returns {'taken'} if it ended, or {'no'}.

local job = read()
if not job.state or TERMINAL[job.state] then
    redis.call('ZREM', DEADLINES, ID)
    return { 'no' }
end
if NOW < job.deadline then return { 'no' } end
if job.state == 'running' then
    local patience = job.deadline + CONST.grace
    if NOW < patience then
        redis.call('ZADD', DEADLINES, patience, ID)
        return { 'no' }
    end
    end_attempt(job, 'timed_out', ARGV[2])
end
expire(job, ARGV[2], ARGV[3])
commit(job)
return { 'taken' }
