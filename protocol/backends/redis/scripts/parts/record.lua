-- Starts the job's record and returns its state: `queued` with a mark, or `scheduled` if its run_at is to come.
-- ARGV[2..7]: tenant, action, spec, deadline, run_at, reply ('1').
local function record()
    local state, why, flags = 'queued', 'awaiting_worker', ARGV[7] ~= '' and 'r' or ''
    if ARGV[6] ~= '' and tonumber(ARGV[6]) > NOW then
        state, why, flags = 'scheduled', 'not_due:' .. ARGV[6], flags .. 't'
        call('ZADD', DUE, ARGV[6], ID)
        unfold('state ' .. STAMP .. ' 0 ' .. NOT_DUE_EVENT)
    else
        call('ZADD', OUTBOX, STAMP, ID)
    end
    local member = ARGV[2] .. ':' .. ID
    call('ZADD', JOBS, '0', member)
    call('ZADD', ENDS, ARGV[5], member)
    call('HSET', JOB, 'now', state .. ' ' .. why .. ' 1 0 0 0 0 ' .. (flags == '' and '-' or flags) .. ' '
        .. ARGV[5] .. ' ' .. STAMP .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'spec', ARGV[4])
    return state
end
