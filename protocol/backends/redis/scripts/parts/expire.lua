-- Ends a job past its deadline; `err` names the deadline, so Rust makes it.
local function expire(job, err, ...)
    leave(job)
    end_job(job, 'expired', false, 'error', err, ...)
end
