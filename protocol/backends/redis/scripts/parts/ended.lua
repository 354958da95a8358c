-- Counts how the newest attempt ended. Returns a field and its value: when, with which outcome and error.
local function ended(job, outcome, err)
    if outcome == 'crashed' then
        job.crashes = string.format('%d', job.crashes + 1)
    elseif outcome == 'failed' or outcome == 'timed_out' then
        job.failures = string.format('%d', job.failures + 1)
    end
    return 'end:' .. job.attempt, STAMP .. ' ' .. outcome .. ' ' .. err
end
