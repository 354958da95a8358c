-- Ends what must be ended before a delivered job can be claimed.
-- Compares: state, lease, deadline, crashes. Sets: the end of an attempt whose lease lapsed, or of the job.
-- ARGV: 2 error of an expired job.
-- Returns 'over' and the state, 'held', 'not_due', 'unknown', or 'queued': it can be claimed now.

local job = read()
if not job.state then return 'unknown' end

if job.state == 'running' then
    if lease() <= NOW then
        lapse(job, ARGV[2])
    elseif NOW < job.deadline + GRACE then
        -- Past the deadline too: the worker that holds it reports first.
        return 'held'
    else
        expire(job, ARGV[2], ended(job, 'timed_out', ARGV[2]))
    end
elseif not over(job.state) and NOW >= job.deadline then
    expire(job, ARGV[2])
elseif job.state == 'queued' and tonumber(job.crashes) >= CRASHES then
    give_up(job)
end

if over(job.state) then return 'over ' .. job.state end
return job.state == 'queued' and 'queued' or 'not_due'
