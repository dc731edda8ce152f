-- One token bucket and its queue. Everything that decides about a call to a platform is decided here, in one step and by the
-- clock of Redis, so that all processes together stay within one limit.
--
-- KEYS  1 bucket  hash    tokens, at (µs), rate and burst (the platform's), plan (what they were seeded from), throttled
--       2 queue   zset    ticket -> class, then order of arrival; a ticket is "cost:random"
--       3 due     zset    ticket -> instant (µs) after which its caller counts as dead
--       4 held    zset    ticket -> instant (µs) of its grant: calls under way that will say what they cost
-- ARGV  1 command   2 share of the rate used   3 tokens and 4 seconds of the rate kept back from the burst
--       5 plan's rate   6 plan's burst   7.. the command's own
--
-- open  7 seed                                 makes a missing bucket                            -> 1
-- spend 7 cost  8 class  9 ticket  10 order (0 at first)  11 longest wait (µs)  12 1 to be held    -> verdict, µs, order, mark
-- leave 7 ticket  8 tokens to give back                                                          -> 1
-- slot  7 seed  8 cost                         would an interactive caller be served now?        -> -1 missing, 0, 1
-- state 7 seed                                                                 -> known, rate, burst, tokens, waiting, throttled
-- adopt 7 rate  8 burst  9 remaining           "" leaves as it is                                -> 1
-- reckon 7 ticket  8 tokens to give back  9 rate  10 burst  11 remaining  12 mark of the grant     -> 1
-- drain 7 tokens left ("" is none)             the platform said 429                             -> 1
--
-- A seed is the number of tokens a missing bucket starts with; "" means that the caller does not know.

local MISSING, GRANTED, WAIT, LATE, NEVER = 0, 1, 2, 3, 4

local CLASS_STEP = 2 ^ 50          -- above any order of arrival, so that a class comes wholly before the next
local EPOCH = 1767225600000000     -- 2026-01-01: order of arrival counts from here, below a step and exact in a double until 2061
local GRACE = 300000               -- a caller this late (µs) for its promised instant is passed over
local LOOK_AGAIN = 100000          -- per ticket ahead: how soon (µs) a waiting caller looks whether those have gone away
local LOOK_LATEST = 1000000        -- no later (µs) than this, so that the tickets of a dead process expire together
local LOOK_LATEST_EACH = 1000      -- per ticket ahead: more (µs) than that in a long queue, which must not be all looking
local LOOK_SOONEST = 5000          -- per ticket ahead: no sooner (µs), while those ahead are slow to take what is there
local SHORTEST = 1000              -- µs; below this a sleep is all overhead
local COUNTED = 100                -- tickets ahead whose costs are added up one by one; the rest are taken as like these
local QUEUE_LIMIT = 10000
local HELD = 30000000              -- a call that is under way for longer (µs) is one of a dead process
local SLOWEST = 0.01               -- share of the plan's rate below which no answer is believed: nothing would correct it again
local LIFE = 7 * 86400 * 1000      -- ms without use, after which memory of the last use is as good as the bucket
local RESERVE = { [0] = 0, [1] = 0.05, [2] = 0.1, [3] = 0.15, [4] = 0.2, [5] = 0.5 }   -- share of the capacity that a class leaves to those above it

local bucket_key, queue_key, due_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local command = ARGV[1]
local used_share, kept_tokens, kept_seconds = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local plan_rate, plan_burst = tonumber(ARGV[5]), tonumber(ARGV[6])

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function whole(number)
    return string.format('%.0f', number)
end

-- Cost-safe: a call that fits the platform's burst must fit ours, though it uses the margin up.
local function capacity(bucket, cost)
    return math.max(1, bucket.burst - kept_tokens - kept_seconds * bucket.rate, math.min(cost, bucket.burst))
end

local function cost_of(ticket)
    return tonumber(string.match(ticket, '^[^:]+'))
end

local function sum_of(tickets)
    local sum = 0
    for _, ticket in ipairs(tickets) do
        sum = sum + cost_of(ticket)
    end
    return sum
end

-- How much there may be in the bucket. The platform's gains nothing while it is full, and of a call that is under way nobody here
-- knows whether it has arrived yet: so ours is full without what those hold, or it would gain meanwhile what theirs does not.
local function limit(bucket, cost)
    redis.call('ZREMRANGEBYSCORE', held_key, '-inf', whole(now - HELD))
    return capacity(bucket, cost) - sum_of(redis.call('ZRANGE', held_key, 0, -1))
end

local function sweep()
    local dead
    repeat
        dead = redis.call('ZRANGEBYSCORE', due_key, '-inf', whole(now), 'LIMIT', 0, 500)
        if #dead > 0 then
            redis.call('ZREM', queue_key, unpack(dead))
            redis.call('ZREM', due_key, unpack(dead))
        end
    until #dead < 500
end

-- What has been saved up since is added, up to `most`; tokens above it (kept for a dear call) are not taken away again.
local function refill(bucket, most)
    local gained = math.max(0, now - bucket.at) / 1000000 * bucket.rate * used_share
    bucket.tokens = math.max(bucket.tokens, math.min(most, bucket.tokens + gained))
    bucket.at = now
end

-- The bucket as it stands now, or nil. `cost`: of the caller that is being answered.
local function load(seed, cost)
    local kept = redis.call('HMGET', bucket_key, 'tokens', 'at', 'rate', 'burst', 'plan', 'throttled')
    local plan = ARGV[5] .. ':' .. ARGV[6]
    local bucket
    if kept[1] then
        bucket = {
            tokens = tonumber(kept[1]), at = tonumber(kept[2]), rate = tonumber(kept[3]), burst = tonumber(kept[4]),
            plan = kept[5], throttled = tonumber(kept[6]), known = true,
        }
        -- A release that knows another plan starts from that one; the platform's answers correct it again.
        if plan_rate and bucket.plan ~= plan then
            bucket.rate, bucket.burst, bucket.plan = plan_rate, plan_burst, plan
            bucket.tokens = math.min(bucket.tokens, capacity(bucket, cost))
        end
    elseif seed then
        bucket = { tokens = 0, at = now, rate = plan_rate, burst = plan_burst, plan = plan, throttled = 0, known = false }
        bucket.tokens = math.min(capacity(bucket, 0), seed)
        return bucket
    else
        return nil
    end
    local first = redis.call('ZRANGE', queue_key, 0, 0)[1]
    refill(bucket, limit(bucket, first and cost_of(first) or cost))
    return bucket
end

local function save(bucket)
    redis.call('HSET', bucket_key, 'tokens', string.format('%.9f', bucket.tokens), 'at', whole(bucket.at),
        'rate', tostring(bucket.rate), 'burst', tostring(bucket.burst), 'plan', bucket.plan, 'throttled', bucket.throttled)
    redis.call('PEXPIRE', bucket_key, LIFE)
end

local function leave(ticket)
    redis.call('ZREM', queue_key, ticket)
    redis.call('ZREM', due_key, ticket)
    redis.call('ZREM', held_key, ticket)
end

local function cost_ahead(ahead)
    if ahead == 0 then
        return 0
    end
    local tickets = redis.call('ZRANGE', queue_key, 0, math.min(ahead, COUNTED) - 1)
    return sum_of(tickets) * ahead / #tickets
end

-- Tokens that calls have given back by `reckon` since the bucket was made: a mark in time, by which a grant is told apart.
local function given_back()
    return tonumber(redis.call('HGET', bucket_key, 'back')) or 0
end

local function spend(cost, class, ticket, order, longest, to_be_held)
    sweep()
    local bucket = load(nil, cost)
    if not bucket then
        return { MISSING, 0, 0 }
    end
    if cost > bucket.burst then
        leave(ticket)
        return { NEVER, 0, 0 }
    end
    if order == 0 then
        order = now - EPOCH
    end
    local place = class * CLASS_STEP + order
    local ahead = redis.call('ZCOUNT', queue_key, '-inf', '(' .. whole(place))
    local room = capacity(bucket, cost)
    local needed = cost + math.min(RESERVE[class] * room, room - cost)
    local wait = 0
    if ahead > 0 or bucket.tokens + 1e-9 < needed then
        local missing = cost_ahead(ahead) + needed - bucket.tokens
        wait = math.max(SHORTEST, math.ceil(missing / (bucket.rate * used_share) * 1000000))
    end
    if wait > longest or longest < 0 or ahead >= QUEUE_LIMIT then
        leave(ticket)
        save(bucket)
        return { LATE, whole(wait), 0 }
    end
    if wait == 0 then
        leave(ticket)
        bucket.tokens = bucket.tokens - cost
        save(bucket)
        if to_be_held then
            redis.call('ZADD', held_key, whole(now), ticket)
            redis.call('PEXPIRE', held_key, LIFE)
        end
        return { GRANTED, 0, 0, tostring(given_back()) }
    end
    save(bucket)
    if ahead > 0 then
        wait = math.min(math.max(wait, ahead * LOOK_SOONEST), ahead * LOOK_AGAIN)
    elseif to_be_held then
        wait = math.min(wait, LOOK_AGAIN)  -- such calls give tokens back at any time
    end
    wait = math.min(wait, math.max(LOOK_LATEST, ahead * LOOK_LATEST_EACH))
    redis.call('ZADD', queue_key, whole(place), ticket)
    redis.call('ZADD', due_key, whole(now + wait + GRACE), ticket)
    redis.call('PEXPIRE', queue_key, LIFE)
    redis.call('PEXPIRE', due_key, LIFE)
    return { WAIT, whole(wait), whole(order) }
end

local function give(tokens)
    local bucket = load(nil, 0)
    if bucket then
        bucket.tokens = math.min(bucket.tokens + tokens, math.max(bucket.tokens, limit(bucket, 0)))
        save(bucket)
    end
end

local function adopt(rate, burst, remaining)
    local bucket = load(nil, 0)
    if bucket then
        if rate then
            rate = math.max(rate, tonumber(string.match(bucket.plan, '^[^:]+')) * SLOWEST)
        end
        local changed = (rate and rate ~= bucket.rate) or (burst and burst ~= bucket.burst)
        bucket.rate, bucket.burst = rate or bucket.rate, burst or bucket.burst
        bucket.tokens = math.min(bucket.tokens, changed and limit(bucket, 0) or math.huge, remaining or math.huge)
        save(bucket)
    end
end

-- Answers overtake each other: what others have got back since this call was granted may be missing in what its answer told.
local function reckon(ticket, back, rate, burst, remaining, mark)
    local since = math.max(0, given_back() - mark)
    local ended = redis.call('ZREM', held_key, ticket) == 0
    if not ended then
        give(back)
    end
    adopt(rate, burst, remaining and remaining + since)
    if back > 0 and not ended and redis.call('EXISTS', bucket_key) == 1 then
        redis.call('HINCRBYFLOAT', bucket_key, 'back', back)
    end
end

if command == 'spend' then
    return spend(tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12] == '1')
elseif command == 'open' then
    save(load(tonumber(ARGV[7]), 0))
elseif command == 'leave' then
    if ARGV[7] ~= '' then
        leave(ARGV[7])
    end
    if ARGV[8] ~= '0' then
        give(tonumber(ARGV[8]))
    end
elseif command == 'slot' then
    sweep()
    local cost = tonumber(ARGV[8])
    local bucket = load(tonumber(ARGV[7]), cost)
    if not bucket then
        return -1
    end
    local ahead = redis.call('ZCOUNT', queue_key, '-inf', '(' .. whole(CLASS_STEP))
    return (ahead == 0 and bucket.tokens + 1e-9 >= cost) and 1 or 0
elseif command == 'state' then
    sweep()
    local bucket = load(tonumber(ARGV[7]), 0)
    if not bucket then
        return { 0, '0', '0', '0', 0, 0 }
    end
    return { 1, tostring(bucket.rate), tostring(bucket.burst), string.format('%.9f', bucket.tokens),
        redis.call('ZCARD', queue_key), bucket.throttled }
elseif command == 'adopt' then
    adopt(tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]))
elseif command == 'reckon' then
    reckon(ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]))
elseif command == 'drain' then
    local bucket = load(nil, 0)
    if bucket then
        bucket.tokens, bucket.throttled = math.min(bucket.tokens, tonumber(ARGV[7]) or 0), bucket.throttled + 1
        save(bucket)
    end
end
return 1
