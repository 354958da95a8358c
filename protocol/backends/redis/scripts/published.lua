-- Clears outbox marks of jobs that the queue has confirmed.
-- KEYS: the outbox of a shard, and jobs of that shard. ARGV: the ids of these jobs, then for each how many
-- milliseconds ago its publish began.
-- Compares: a mark that is newer than the publish stays, unless its job never ran: then it was only taken.
-- Returns nothing.

local function never_ran(key)
    local now = redis.call('HGET', key, 'now')
    return not now or string.match(now, '^%a+ %S+ %d+ (%d+)') == '0'
end

local clock = redis.call('TIME')
-- One more for the fractions that were cut off.
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) + 1
local count = #KEYS - 1
local marks = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 1, count))
local cleared = {}
for i = 1, count do
    local mark = tonumber(marks[i])
    if mark and (mark <= now - tonumber(ARGV[count + i]) or never_ran(KEYS[i + 1])) then
        cleared[#cleared + 1] = ARGV[i]
    end
end
if #cleared > 0 then redis.call('ZREM', KEYS[1], unpack(cleared)) end
return {}
