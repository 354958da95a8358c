-- Cancels a job, or asks its worker to.
-- Compares: tenant and state. Sets: the end of a job that doesn't run; else the request, and tells the workers.
-- ARGV: 2 tenant. Returns {'now'}, {'asked'}, {'over', state} or {'not_found'}.

local job = read()
if not job.state or job.tenant ~= ARGV[2] then return { 'not_found' } end
if TERMINAL[job.state] then return { 'over', job.state } end
set('cancel', '1')
if job.state == 'running' then
    redis.call('PUBLISH', CONST.cancel, ID)
    commit(job)
    return { 'asked' }
end
cancel(job)
commit(job)
return { 'now' }
