-- Ends a job that someone asked to cancel.
local function cancel(job, ...)
    leave(job)
    end_job(job, 'cancelled', CANCELLED_EVENT, false, 'error', CANCELLED_ERROR, ...)
end
