-- Adds the job's next event, and gives its number.
local function tell(kind, attempt, data)
    return string.format('%d', call('RPUSH', EVENTS, kind .. ' ' .. STAMP .. ' ' .. attempt .. ' ' .. data))
end
