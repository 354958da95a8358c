-- Adds the job's next event, and gives its number.
local function tell(job, kind, attempt, data)
    open_list(job)
    return string.format('%d', call('RPUSH', EVENTS, kind .. ' ' .. STAMP .. ' ' .. attempt .. ' ' .. data))
end
