-- Gives the job a flag, for good.
local function mark(job, flag)
    if not string.find(job.flags, flag, 1, true) then
        job.flags = (job.flags == '-' and '' or job.flags) .. flag
    end
end
