-- Adds a batch of the newest attempt, whose first event is the attempt's ARGV[from]-th; behind it kind and data of
-- each. Skips those that are there already.
local function add_batch(job, from)
    local ordinal = ARGV[from] - 1
    local events, newest = {}, nil
    for i = from + 1, #ARGV, 2 do
        ordinal = ordinal + 1
        if ordinal > job.appended then
            events[#events + 1] = ARGV[i] .. ' ' .. STAMP .. ' ' .. job.attempt .. ' ' .. ARGV[i + 1]
        end
    end
    if #events > 0 then open_list(job) end
    for i = 1, #events, 1000 do
        newest = call('RPUSH', EVENTS, unpack(events, i, math.min(i + 999, #events)))
    end
    if newest then call('HSET', JOB, 'seq', newest, 'appended', ordinal) end
end
