-- What one key has spent in the minute that runs, in points and in calls. Everything that counts for all processes is decided
-- here, in one step and by the clock of Redis.
--
-- KEYS  1 spent   hash    minute, points, calls
-- ARGV  take: 2 points needed  3 points at once  4 points a minute  5-7 the same of calls; a limit of 0 is not counted
--             -> minute, ms that are left of it, points and calls granted (-1 each when either is too much), points and calls left
--       give: 2 minute  3 points  4 calls    -> 1

local time = redis.call('TIME')
local minute = math.floor(time[1] / 60)
local left_ms = 60000 - (time[1] % 60) * 1000 - math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'minute', 'points', 'calls')
local spent = { 0, 0 }
if tonumber(kept[1]) == minute then
    spent = { tonumber(kept[2]), tonumber(kept[3]) }
end

local function save()
    redis.call('HSET', KEYS[1], 'minute', minute, 'points', string.format('%.0f', spent[1]),
        'calls', string.format('%.0f', spent[2]))
    redis.call('PEXPIRE', KEYS[1], 120000)
end

if ARGV[1] == 'give' then
    if tonumber(ARGV[2]) == minute then
        spent = { math.max(0, spent[1] - tonumber(ARGV[3])), math.max(0, spent[2] - tonumber(ARGV[4])) }
        save()
    end
    return 1
end

local left, granted = {}, {}
local enough = true
for unit = 1, 2 do
    local need, limit = tonumber(ARGV[unit * 3 - 1]), tonumber(ARGV[unit * 3 + 1])
    left[unit] = math.max(0, limit - spent[unit])
    enough = enough and (limit == 0 or need <= left[unit])
end
for unit = 1, 2 do
    local need, at_once, limit = tonumber(ARGV[unit * 3 - 1]), tonumber(ARGV[unit * 3]), tonumber(ARGV[unit * 3 + 1])
    granted[unit] = enough and 0 or -1
    if enough and limit > 0 and need > 0 then
        granted[unit] = math.min(left[unit], math.max(need, at_once))
        spent[unit] = spent[unit] + granted[unit]
        left[unit] = left[unit] - granted[unit]
    end
end
if enough then
    save()
end
return { minute, left_ms, granted[1], granted[2], left[1], left[2] }
