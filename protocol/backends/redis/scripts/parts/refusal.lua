-- Why `attempt` may not write: 'unknown' if it must be restored first, 'lost' if it is over; nil if it may.
local function refusal(job, attempt)
    if job.state == 'running' and job.attempt == attempt then return end
    if not job.state then return 'unknown' end
    if over(job.state) or tonumber(job.attempt) >= tonumber(attempt) then return 'lost' end
    return 'unknown'
end
