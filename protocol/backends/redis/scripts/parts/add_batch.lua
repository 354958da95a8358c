-- Adds a batch of the newest attempt, whose first event is the attempt's ARGV[from]-th; behind it kind and data of
-- each. Skips those that are there already.
local function add_batch(job, from)
    local ordinal, appended = ARGV[from] - 1, tonumber(job.appended)
    local events = {}
    for i = from + 1, #ARGV, 2 do
        ordinal = ordinal + 1
        if ordinal > appended then
            events[#events + 1] = ARGV[i] .. ' ' .. STAMP .. ' ' .. job.attempt .. ' ' .. ARGV[i + 1]
        end
    end
    if #events == 0 then return end
    open_list(job)
    for i = 1, #events, 1000 do
        local newest = call('RPUSH', EVENTS, unpack(events, i, math.min(i + 999, #events)))
        job.seq = string.format('%d', newest)
    end
    job.appended = string.format('%d', ordinal)
end
