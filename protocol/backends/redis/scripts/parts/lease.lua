-- When the lease of the running attempt lapses.
local function lease()
    return tonumber(call('ZSCORE', LEASES, ID)) or 0
end
