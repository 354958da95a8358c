-- Counts the running attempt, whose lease lapsed, as a crash, and decides how the job goes on.
local function lapse(job, expired_error)
    local field, value = ended(job, 'crashed', CRASH_ERROR)
    if NOW >= job.deadline then
        expire(job, expired_error, field, value)
    elseif job.cancel then
        cancel(job, field, value)
    elseif tonumber(job.crashes) >= CRASHES then
        give_up(job, field, value)
    else
        leave(job)
        queue(job, 'worker_lost', WORKER_LOST_EVENT, field, value)
    end
end
