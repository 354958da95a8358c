-- Of such a job, an end without events.
local rest, tenant = string.match(call('HGET', JOB, 'now') or '', '^running %- 2 (1 0 0 0 %- %-?%d+ %-?%d+ (%S+) .+)$')
if rest and ARGV[2] == '1' and ARGV[3] == 'succeeded' and ARGV[5] == 'succeeded' then
    call('ZREM', LEASES, ID)
    call('ZADD', ENDS, string.format('%d', KEPT + NOW + RETENTION), tenant .. ':' .. ID)
    call('HSET', JOB, 'now', 'succeeded ' .. STAMP .. ' 3 ' .. rest, ARGV[6], ARGV[7], 'end:1', STAMP .. ' succeeded ' .. ARGV[4])
    call('PEXPIRE', JOB, RETENTION)
    call('PUBLISH', WAKE, ID .. ' end' .. ARGV[9])
    return 'recorded'
end
