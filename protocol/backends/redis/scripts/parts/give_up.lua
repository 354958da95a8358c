-- Ends a job whose attempts crashed too often.
local function give_up(job, ...)
    leave(job)
    end_job(job, 'failed', true, 'error', GIVEN_UP_ERROR, ...)
end
