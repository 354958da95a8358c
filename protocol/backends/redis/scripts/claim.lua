-- Starts the next attempt of a delivered job, after ending what must be ended.
-- Compares: state, lease, deadline, crashes. Sets: the attempt and its lease; clears the mark.
-- ARGV: 2 worker, 3 isolation, 4 and 5 error and event of an expired job.
-- Returns {'granted', attempt, failures, crashes}, {'held'}, {'not_due'}, {'over', state} or {'unknown'}.

local job = read()
if not job.state then return { 'unknown' } end
if TERMINAL[job.state] then return { 'over', job.state } end

if job.state == 'running' then
    if lease() <= NOW then
        lapse(job, ARGV[4], ARGV[5])
    elseif NOW < job.deadline + CONST.grace then
        -- Past the deadline too: the worker that holds it reports first.
        return { 'held' }
    else
        end_attempt(job, 'timed_out', ARGV[4])
        expire(job, ARGV[4], ARGV[5])
    end
elseif NOW >= job.deadline then
    expire(job, ARGV[4], ARGV[5])
elseif job.state == 'queued' and job.crashes >= CONST.crashes then
    give_up(job)
end

if TERMINAL[job.state] then
    commit(job)
    return { 'over', job.state }
end
if job.state ~= 'queued' then return { 'not_due' } end
start(job, job.attempt + 1, ARGV[2], ARGV[3])
commit(job)
return { 'granted', tostring(job.attempt), tostring(job.failures), tostring(job.crashes) }
