-- A job that is new, may start now, and wants no answer.
if ARGV[6] == '' and ARGV[7] == '' and call('EXISTS', JOB) == 0 then
    call('ZADD', OUTBOX, STAMP, ID)
    local member = ARGV[2] .. ':' .. ID
    call('ZADD', JOBS, '0', member)
    call('ZADD', ENDS, ARGV[5], member)
    local fixed = ARGV[5] .. ' ' .. STAMP .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
    call('HSET', JOB, 'now', 'queued awaiting_worker 1 0 0 0 0 - ' .. fixed, 'spec', ARGV[4])
    return 'new queued'
end
