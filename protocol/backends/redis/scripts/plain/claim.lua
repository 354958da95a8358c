-- The first attempt of a job that nobody follows or wants an answer of: what nearly all are.
local rest, deadline = string.match(call('HGET', JOB, 'now') or '', '^queued %S+ 1 0 (0 0 0 %- (%-?%d+) .+)$')
if rest and NOW < tonumber(deadline) then
    call('ZADD', LEASES, string.format('%d', NOW + LEASE), ID)
    call('HSET', JOB, 'now', 'running - 2 1 ' .. rest, 'start:1', STAMP .. ' ' .. ARGV[3] .. ' ' .. ARGV[2])
    return 'granted 1 0 0'
end
