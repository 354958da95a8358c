-- Starts the job's record and returns its state: `queued` with a mark, or `scheduled` if its run_at is to come.
-- ARGV[2..7]: tenant, action, spec, deadline, run_at, reply ('1').
local function record()
    local state, kept
    if ARGV[6] ~= '' and tonumber(ARGV[6]) > NOW then
        state, kept = 'scheduled', 'scheduled not_due ' .. ARGV[6]
        call('ZADD', DUE, ARGV[6], ID)
        unfold('state ' .. STAMP .. ' 0 ' .. NOT_DUE_EVENT)
    else
        state, kept = 'queued', 'queued awaiting_worker'
        call('ZADD', OUTBOX, STAMP, ID)
    end
    local member = ARGV[2] .. ':' .. ID
    call('ZADD', JOBS, '0', member)
    call('ZADD', ENDS, ARGV[5], member)
    call('HSET', JOB, 'state', kept, 'seq', '1', 'at', STAMP, 'tenant', ARGV[2], 'action', ARGV[3], 'spec', ARGV[4],
        'deadline', ARGV[5])
    if ARGV[7] ~= '' then call('HSET', JOB, 'reply', ARGV[7]) end
    return state
end
