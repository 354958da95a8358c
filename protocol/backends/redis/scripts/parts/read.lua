-- What changes of the job, as its field `now` has it (README.md, "Fields of a record"): `state` is nil if there is no such job.
-- Numbers that are mostly handed on stay text. Who changes something of it saves it.
local function read()
    local state, why, seq, attempt, appended, crashes, failures, flags, fixed, deadline, at, tenant = string.match(
        call('HGET', JOB, 'now') or '',
        '^(%a+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) ((%-?%d+) (%-?%d+) (%S+) .+)$'
    )
    local job = {
        state = state,
        why = why,
        seq = seq,
        attempt = attempt or '0',
        appended = appended,
        crashes = crashes,
        failures = failures,
        flags = flags,
        fixed = fixed,
        deadline = tonumber(deadline) or 0,
        at = at,
        tenant = tenant,
    }
    -- Most have none.
    if flags and flags ~= '-' then
        job.reply = string.find(flags, 'r', 1, true)
        job.told = string.find(flags, 't', 1, true)
        job.followed = string.find(flags, 'f', 1, true)
        job.cancel = string.find(flags, 'c', 1, true)
    end
    return job
end
