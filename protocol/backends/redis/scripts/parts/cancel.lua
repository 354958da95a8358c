-- Ends a job that someone asked to cancel.
local function cancel(job, ...)
    leave(job)
    end_job(job, 'cancelled', false, 'error', CANCELLED_ERROR, ...)
end
