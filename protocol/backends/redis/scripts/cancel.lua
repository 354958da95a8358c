-- Cancels a job, or asks its worker to.
-- Compares: tenant and state. Sets: the end of a job that doesn't run; else the request, and tells the workers.
-- ARGV: 2 tenant. Returns 'now', 'asked', 'over' and the state, or 'not_found'.

local job = read()
if not job.state or job.tenant ~= ARGV[2] then return 'not_found' end
if over(job.state) then return 'over ' .. job.state end
mark(job, 'c')
if job.state == 'running' then
    save(job)
    call('PUBLISH', CANCEL, ID)
    call('PUBLISH', WAKE, ID)
    return 'asked'
end
cancel(job)
return 'now'
