-- Adds the job's next event.
local function tell(job, kind, attempt, data)
    open_list(job)
    job.seq = string.format('%d', call('RPUSH', EVENTS, kind .. ' ' .. STAMP .. ' ' .. attempt .. ' ' .. data))
end
