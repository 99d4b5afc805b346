#!lua name=carbonquota_limits1
-- How the store decides on the charges of a request, as one atomic step: all are made, or none. One library for one
-- version of the protocol; a later version has another name, so that limiters of both can share a server.
--
-- All keys of a domain have one hash tag, for a step is atomic within one slot only:
--   {cql:<name>:<domain>}:server   hash: `run` (the server's run id), `since` (before when something may be forgotten, us)
--   {cql:<name>:<domain>}:<key>    string, a state as carbonquota/limiter/algorithms says, a double a number; of requests
--                                  in flight a sorted set: a member "<token>#<place>" for each place, by when its lease runs out
-- Each has a TTL, from when on its state is as good as none.
--
-- A server that was restarted, or is a replica that took over, may have forgotten what it let pass. Whoever asks names
-- the run that he knows, so that a server whose memory is gone altogether is found out, too. From then on a charge that must
-- never be over its limit (FAIL_CLOSED) finds a counter that was full then, whatever the server remembers of before.
--
-- Numbers are doubles, exact up to 2^53, which no level, count or time reaches.

local BUCKET, FIXED, SLIDING, CONCURRENCY = 1, 2, 3, 4
local SHADOW, CHARGE_DENIED, GUARANTEE, FAIL_OPEN, FAIL_CLOSED, QUOTA, QUOTA_BEGINS = 1, 2, 4, 8, 16, 32, 64
local SLOTS = 6
local NEVER = -1
local MOST_LEVEL = 2^53
local SLACK = 1000 -- ms that a key outlives its state, as a clock may be set back a little

local this_run = nil
local this_start = 0
local since_of = {}

local function floor_div(a, b) return math.floor(a / b) end
local function ceil_div(a, b) return -math.floor(-a / b) end
local function text(number) return string.format('%.0f', number) end

local function now_us()
  local time = server.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Before when something may be forgotten, us; 0: nothing is. `known` is the run that the caller knows, '' for none.
local function forgotten_before(key, known, now)
  if this_run == nil then
    local info = server.call('INFO', 'server')
    this_run = string.match(info, 'run_id:(%w+)')
    this_start = now - tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) * 1000000
  end
  local since = since_of[key]
  if since == nil then
    local noted = server.call('HMGET', key, 'run', 'since')
    if noted[1] == this_run then since = tonumber(noted[2])
    elseif noted[1] then since = now
    else since = 0 end
    server.call('HSET', key, 'run', this_run, 'since', text(since))
    since_of[key] = since
  end
  if known ~= '' and known ~= this_run and since < this_start then
    since = now
    server.call('HSET', key, 'run', this_run, 'since', text(since))
    since_of[key] = since
  end
  return since
end

-- The token bucket: level, when, per hit.
local bucket = {}

function bucket.level(policy, state, now)
  if state == nil then return 0 end
  local used = state[1]
  if state[3] ~= policy.per_hit then used = math.min(ceil_div(used * policy.per_hit, state[3]), MOST_LEVEL) end
  return math.max(used - math.max(now - state[2], 0) * policy.rate, 0)
end

function bucket.ask(policy, state, now, hits)
  local used = bucket.level(policy, state, now)
  local over = used + hits * policy.per_hit - policy.capacity
  local remaining = floor_div(math.max(policy.capacity - used, 0), policy.per_hit)
  if over <= 0 then
    return {true, remaining - hits, ceil_div(used + hits * policy.per_hit, policy.rate), 0}
  end
  local retry = NEVER
  if hits * policy.per_hit <= policy.capacity then retry = ceil_div(over, policy.rate) end
  return {false, remaining, ceil_div(used, policy.rate), retry}
end

function bucket.take(policy, state, now, hits)
  return {math.min(bucket.level(policy, state, now) + hits * policy.per_hit, MOST_LEVEL), now, policy.per_hit}
end

function bucket.penalize(policy, state, now, hits)
  local used = bucket.level(policy, state, now)
  return {math.max(used, math.min(used + hits * policy.per_hit, policy.capacity)), now, policy.per_hit}
end

function bucket.expiry(policy, state)
  return state[2] + ceil_div(state[1], policy.rate)
end

function bucket.is_before(policy, state, since, now)
  return state == nil or state[2] < since
end

function bucket.full(policy, when)
  return {policy.capacity, when, policy.per_hit}
end

-- The fixed window: number, hits.
local fixed = {}

function fixed.count(policy, state, now)
  if state == nil or state[1] < floor_div(now, policy.per_hit) then return 0 end
  return state[2]
end

function fixed.ask(policy, state, now, hits)
  local used = fixed.count(policy, state, now)
  local reset = policy.per_hit - now % policy.per_hit
  if used + hits <= policy.capacity then return {true, policy.capacity - used - hits, reset, 0} end
  local retry = NEVER
  if hits <= policy.capacity then retry = reset end
  return {false, math.max(policy.capacity - used, 0), reset, retry}
end

function fixed.take(policy, state, now, hits)
  return {floor_div(now, policy.per_hit), fixed.count(policy, state, now) + hits}
end

fixed.penalize = fixed.take

function fixed.expiry(policy, state)
  return (state[1] + 1) * policy.per_hit
end

function fixed.is_before(policy, state, since, now)
  return floor_div(now, policy.per_hit) <= floor_div(since, policy.per_hit)
end

function fixed.full(policy, when)
  return {floor_div(when, policy.per_hit), policy.capacity}
end

-- The sliding window: number of the running slot, then its hits and those of the slots before it.
local sliding = {}

function sliding.slots(policy, state, now)
  local counts = {}
  local passed = SLOTS + 1
  if state ~= nil then
    passed = math.min(math.max(floor_div(now, policy.per_hit) - state[1], 0), SLOTS + 1)
  end
  for at = 1, SLOTS + 1 do
    if at <= passed then counts[at] = 0 else counts[at] = state[1 + at - passed] end
  end
  return counts
end

local function sum(counts)
  local total = 0
  for at = 1, #counts do total = total + counts[at] end
  return total
end

function sliding.wait(policy, counts, now, most)
  local used = sum(counts)
  if used <= most then return 0 end
  local after = policy.per_hit - now % policy.per_hit
  for at = #counts, 2, -1 do
    used = used - counts[at]
    if used <= most then return after end
    after = after + policy.per_hit
  end
  return after
end

function sliding.ask(policy, state, now, hits)
  local counts = sliding.slots(policy, state, now)
  local used = sum(counts)
  if used + hits <= policy.capacity then
    counts[1] = counts[1] + hits
    return {true, policy.capacity - used - hits, sliding.wait(policy, counts, now, 0), 0}
  end
  local retry = NEVER
  if hits <= policy.capacity then retry = sliding.wait(policy, counts, now, policy.capacity - hits) end
  return {false, math.max(policy.capacity - used, 0), sliding.wait(policy, counts, now, 0), retry}
end

function sliding.take(policy, state, now, hits)
  local counts = sliding.slots(policy, state, now)
  local taken = {floor_div(now, policy.per_hit), counts[1] + hits}
  for at = 2, SLOTS + 1 do taken[at + 1] = counts[at] end
  return taken
end

sliding.penalize = sliding.take

function sliding.expiry(policy, state)
  return (state[1] + SLOTS + 1) * policy.per_hit
end

function sliding.is_before(policy, state, since, now)
  return floor_div(now, policy.per_hit) - floor_div(since, policy.per_hit) <= SLOTS
end

function sliding.full(policy, when)
  local state = {floor_div(when, policy.per_hit), policy.capacity}
  for at = 2, SLOTS + 1 do state[at + 1] = 0 end
  return state
end

-- Requests in flight; what is taken is written at once, and undone where the request is refused.
local flight = {}

function flight.clean(policy, key, now)
  server.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
  local longest = now + policy.per_hit
  local beyond = server.call('ZRANGEBYSCORE', key, '(' .. text(longest), '+inf')
  for at = 1, #beyond do server.call('ZADD', key, text(longest), beyond[at]) end
end

function flight.ask(policy, key, now, hits)
  flight.clean(policy, key, now)
  local used = server.call('ZCARD', key)
  if used + hits <= policy.capacity then return {true, policy.capacity - used - hits, policy.per_hit, 0} end
  local last = server.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  local reset, retry = 0, NEVER
  if last[2] then reset = tonumber(last[2]) - now end
  if hits <= policy.capacity then
    local first = used + hits - policy.capacity - 1
    local ends = server.call('ZRANGE', key, first, first, 'WITHSCORES')
    if ends[2] then retry = tonumber(ends[2]) - now else retry = 0 end
  end
  return {false, math.max(policy.capacity - used, 0), reset, retry}
end

function flight.take(policy, key, now, hits)
  local token = now
  while server.call('ZSCORE', key, text(token) .. '#1') do token = token + 1 end
  for place = 1, hits do
    server.call('ZADD', key, text(now + policy.per_hit), text(token) .. '#' .. place)
  end
  server.call('PEXPIRE', key, text(ceil_div(policy.per_hit, 1000) + SLACK))
  return token
end

function flight.give_back(key, token, hits)
  for place = 1, hits do server.call('ZREM', key, text(token) .. '#' .. place) end
end

local ALGORITHMS = {bucket, fixed, sliding}
bucket.layout, fixed.layout, sliding.layout = '<ddd', '<dd', '<dddddddd'

local function has(kind, flag)
  return math.floor(kind / flag) % 2 == 1
end

-- The charges, of which a blob tells six doubles each.
local function charges_of(keys, blob)
  local charges = {}
  for at = 1, #keys - 1 do
    local algorithm, capacity, per_hit, rate, hits, kind = struct.unpack('<dddddd', blob, (at - 1) * 48 + 1)
    charges[at] = {
      key = keys[at + 1],
      algorithm = algorithm,
      policy = {capacity = capacity, per_hit = per_hit, rate = rate},
      hits = hits,
      kind = kind,
    }
  end
  return charges
end

-- The state of a charge's key; what may be forgotten counts as full.
local function state_of(charge, states, since, now)
  local state = states[charge.key]
  if state == nil then
    local functions = ALGORITHMS[charge.algorithm]
    local blob = server.call('GET', charge.key)
    if blob then state = {struct.unpack(functions.layout, blob)} end
    if since > 0 and has(charge.kind, FAIL_CLOSED) and functions.is_before(charge.policy, state, since, now) then
      state = functions.full(charge.policy, since)
    end
    states[charge.key] = state or false
  end
  return state or nil
end

local function write(charge, state, now)
  local functions = ALGORITHMS[charge.algorithm]
  local left = math.max(ceil_div(functions.expiry(charge.policy, state) - now, 1000), 0) + SLACK
  server.call('SET', charge.key, struct.pack(functions.layout, unpack(state)), 'PX', text(left))
end

-- Nobody may be in flight while it is not known who is.
local function unknown_flight(charge, since, now)
  if since > 0 and has(charge.kind, FAIL_CLOSED) and now < since + charge.policy.per_hit then
    local left = since + charge.policy.per_hit - now
    return {false, 0, left, left}
  end
  return nil
end

-- The same as below for one charge that is not of requests in flight, as most are. Its answer is one blob, the last
-- number of which says whether it was made.
local function decide_one(key, blob, now, since)
  local algorithm, capacity, per_hit, rate, hits, kind = struct.unpack('<dddddd', blob)
  local charge = {key = key, algorithm = algorithm, policy = {capacity = capacity, per_hit = per_hit, rate = rate}, kind = kind}
  local functions = ALGORITHMS[algorithm]
  local state = state_of(charge, {}, since, now)
  local outcome = functions.ask(charge.policy, state, now, hits)
  local passes = outcome[1] or has(kind, SHADOW) or has(kind, GUARANTEE)
  if outcome[1] then
    write(charge, functions.take(charge.policy, state, now, hits), now)
  elseif not passes and has(kind, CHARGE_DENIED) then
    write(charge, functions.penalize(charge.policy, state, now, hits), now)
  end
  return struct.pack('<ddddd', outcome[1] and 1 or 0, outcome[2], outcome[3], outcome[4], passes and 1 or 0)
end

-- The same again for a bucket's plain charge, without tables: most are such.
local function decide_bucket(key, capacity, per_hit, rate, hits, now)
  local used = 0
  local blob = server.call('GET', key)
  if blob then
    local then_, before
    used, then_, before = struct.unpack('<ddd', blob)
    if before ~= per_hit then used = math.min(ceil_div(used * per_hit, before), MOST_LEVEL) end
    if now > then_ then used = used - (now - then_) * rate end
    if used < 0 then used = 0 end
  end
  local after = used + hits * per_hit
  local left = capacity > used and floor_div(capacity - used, per_hit) or 0
  if after <= capacity then
    local reset = ceil_div(after, rate)
    server.call('PSETEX', key, ceil_div(reset, 1000) + SLACK, struct.pack('<ddd', after, now, per_hit))
    return struct.pack('<ddddd', 1, left - hits, reset, 0, 1)
  end
  local retry = hits * per_hit <= capacity and ceil_div(after - capacity, rate) or NEVER
  return struct.pack('<ddddd', 0, left, ceil_div(used, rate), retry, 0)
end

-- keys: server, then one a charge; args: now (us, 0 for the server's clock), the run that the caller knows ('' for
-- none), and of each charge algorithm, capacity, per hit, rate, hits, kind. Gives: whether all were made (1, 0), the
-- server's run ('' where it is the one that the caller knows), and of each charge whether it fits, remaining, reset,
-- retry, token. Charges and outcomes are blobs of doubles, which spare both sides half of the time. For a caller who knows
-- the run, the answer to one charge is its blob alone.
local function decide(keys, args)
  local now = tonumber(args[1])
  if now == 0 then now = now_us() end
  local since = forgotten_before(keys[1], args[2], now)
  local run = args[2] ~= this_run and this_run or ''
  if #keys == 2 and run == '' then
    local algorithm, capacity, per_hit, rate, hits, kind = struct.unpack('<dddddd', args[3])
    if algorithm == BUCKET and (kind == 0 or kind == FAIL_OPEN or kind == FAIL_CLOSED and since == 0) then
      return decide_bucket(keys[2], capacity, per_hit, rate, hits, now)
    end
    if algorithm ~= CONCURRENCY then return decide_one(keys[2], args[3], now, since) end
  end
  local charges = charges_of(keys, args[3])
  local stored, behind, outcomes, tokens = {}, {}, {}, {}
  local passes, forced = true, false
  -- Of several quotas one with room is enough; `room` says whether the running one has any so far, nil before the first.
  local room, has_room = nil, false
  for at, charge in ipairs(charges) do
    local outcome
    if charge.algorithm == CONCURRENCY then
      outcome = unknown_flight(charge, since, now) or flight.ask(charge.policy, charge.key, now, charge.hits)
      if charge.hits > 0 and (outcome[1] or forced) then tokens[at] = flight.take(charge.policy, charge.key, now, charge.hits) end
    else
      local functions = ALGORITHMS[charge.algorithm]
      local state = behind[charge.key] or state_of(charge, stored, since, now)
      outcome = functions.ask(charge.policy, state, now, charge.hits)
      if outcome[1] or forced then behind[charge.key] = functions.take(charge.policy, state, now, charge.hits) end
    end
    outcomes[at] = outcome
    if has(charge.kind, QUOTA) then
      if room == nil or has(charge.kind, QUOTA_BEGINS) then
        has_room = has_room or room == true
        room = true
      end
      room = room and (outcome[1] or forced)
    elseif not outcome[1] and not forced and not has(charge.kind, SHADOW) and not has(charge.kind, GUARANTEE) then
      passes = false
    end
    forced = has(charge.kind, GUARANTEE) and outcome[1]
  end
  if room == false and not has_room then passes = false end
  if passes then
    for _, charge in ipairs(charges) do
      if behind[charge.key] then write(charge, behind[charge.key], now) end
      behind[charge.key] = nil
    end
  else
    behind = {}
    for at, charge in ipairs(charges) do
      if tokens[at] then flight.give_back(charge.key, tokens[at], charge.hits) end
      tokens[at] = nil
      if charge.algorithm ~= CONCURRENCY then
        local functions = ALGORITHMS[charge.algorithm]
        if outcomes[at][1] then
          local left = functions.ask(charge.policy, state_of(charge, stored, since, now), now, 0)
          outcomes[at][2], outcomes[at][3] = left[2], left[3]
        end
        if has(charge.kind, CHARGE_DENIED) then
          local state = behind[charge.key] or state_of(charge, stored, since, now)
          behind[charge.key] = functions.penalize(charge.policy, state, now, charge.hits)
          write(charge, behind[charge.key], now)
        end
      elseif outcomes[at][1] then
        local left = flight.ask(charge.policy, charge.key, now, 0)
        outcomes[at][2], outcomes[at][3] = left[2], left[3]
      end
    end
  end
  local told = {}
  for at, outcome in ipairs(outcomes) do
    told[at] = struct.pack('<ddddd', outcome[1] and 1 or 0, outcome[2], outcome[3], outcome[4], tokens[at] or 0)
  end
  return {passes and 1 or 0, run, table.concat(told)}
end

-- keys: of requests in flight; args: token, places. A lease ends.
local function release(keys, args)
  flight.give_back(keys[1], tonumber(args[1]), tonumber(args[2]))
  return 1
end

server.register_function('cql1_decide', decide)
server.register_function('cql1_release', release)
