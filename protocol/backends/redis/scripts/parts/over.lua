-- Whether a state is the last one.
local function over(state)
    return state == 'succeeded' or state == 'failed' or state == 'expired' or state == 'cancelled'
end
