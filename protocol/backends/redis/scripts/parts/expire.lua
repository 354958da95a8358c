-- Ends a job past its deadline; `err` and `event` name the deadline, so Rust makes them.
local function expire(job, err, event, ...)
    leave(job)
    end_job(job, 'expired', event, false, 'error', err, ...)
end
