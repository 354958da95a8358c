-- Tells one worker with nothing to do about a job.
-- KEYS: the workers of the lane that have nothing to do. ARGV: the job as JSON, and what stands before a worker's name in its channel.
-- Sets: whoever is told is taken out, and whoever doesn't hear. Returns how many heard.

for _ = 1, 16 do
    local worker = redis.call('SPOP', KEYS[1])
    if not worker then return 0 end
    if redis.call('PUBLISH', ARGV[2] .. worker, ARGV[1]) > 0 then return 1 end
end
return 0
