-- The fields that decide. `state` is its first word, nil if there is no such job. Numbers that are mostly handed on
-- stay text.
local function read()
    local f = call('HMGET', JOB, 'state', 'attempt', 'deadline', 'tenant', 'appended', 'crashes', 'failures', 'cancel',
        'reply', 'followed', 'told')
    return {
        state = string.match(f[1] or '', '^%a+'),
        attempt = f[2] or '0',
        deadline = tonumber(f[3]) or 0,
        tenant = f[4] or '',
        appended = tonumber(f[5]) or 0,
        crashes = f[6] or '0',
        failures = f[7] or '0',
        cancel = f[8],
        reply = f[9],
        followed = f[10],
        told = f[11],
    }
end
