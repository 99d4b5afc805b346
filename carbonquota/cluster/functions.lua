#!lua name=carbonquota1
-- What the store decides in slices mode, each function as one atomic step. One library for one version of the protocol;
-- a later version has another name, so that nodes of both can share a server.
--
-- All keys of a cluster have one hash tag, for a step is atomic within one slot only:
--   {cq:<cluster>}:server     hash: `run` (the server's run id), `evicted` (keys), `since` (when it began to keep this cluster, ms)
--   {cq:<cluster>}:members    hash: node -> "<last heard, ms> <nodes it divides by when it is alone, 0: it accepts nothing>"
--   {cq:<cluster>}:flow:<n>   hash of interval n: digest of a namespace -> points given out; `_lapsed` as below
-- and what is held, of which claims.lua tells, the second half of this library:
--   {cq:<cluster>}:stock      hash: `run`, `since` (of the epoch), `next` (number of a run), `dead`, `sweeping`, `cursor`
--   {cq:<cluster>}:runs       hash: node -> its run, see below
--   {cq:<cluster>}:names      hash: digest of a metric (16 bytes) -> its namespace (8 bytes), size and runs (4 bytes each)
--   {cq:<cluster>}:usage      hash: digest of a namespace (8 bytes) -> the one above it, and what it holds (5 doubles)
--   {cq:<cluster>}:recalled   hash: digest of a namespace (8 bytes) -> what it held at least, by the nodes' word (5 doubles)
--   {cq:<cluster>}:sizes      hash: 3 doubles -> number, and "#<number>" -> 3 doubles
-- and what is reserved of quotas, of which grants.lua tells, the third part.
--
-- Nothing is ever given out twice. A server that was restarted or flushed, evicted a key, or is a replica that took over,
-- may have forgotten what it gave out, so it gives nothing in an interval that began before it did. A node that was not heard since before an
-- interval began may be cut off, and live on its share of each limit; so that share is kept back in that interval. Which
-- nodes these are is asked not long before the interval begins, when nodes that are well have been heard of lately.

local OK, YOUNG, LATE, EARLY = 0, 1, 2, 3

local function now_ms()
  local time = server.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether a server that knows nothing of a cluster never knew anything: it was not flushed, nor ever a replica.
local function forgot_nothing()
  local info = server.call('INFO', 'commandstats', 'replication')
  return not string.find(info, 'cmdstat_flush') and string.find(info, 'second_repl_offset:-1', 1, true) ~= nil
end

-- Since when, in ms, nothing that this server was told can be missing from it.
local function complete_since(key, now)
  local info = server.call('INFO', 'server', 'stats')
  local run, evicted = string.match(info, 'run_id:(%w+)'), string.match(info, 'evicted_keys:(%d+)')
  local known = server.call('HMGET', key, 'run', 'since', 'evicted')
  if known[1] == run and known[3] == evicted then
    return tonumber(known[2])
  end
  local since = now
  if not known[1] and evicted == '0' and forgot_nothing() then
    -- The uptime is the difference of two full seconds, so it may be told up to a second too long.
    local uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)'))
    since = math.min(now, (math.floor(now / 1000) - uptime + 1) * 1000)
  end
  server.call('HSET', key, 'run', run, 'since', string.format('%.0f', since), 'evicted', evicted)
  return since
end

-- Note that a node was heard; the number of nodes, and by how many it divides limits when it is alone, 0 for not at all.
-- All nodes may become alone at once, so what is left to them must never come to more than the whole: a node that is new
-- has no share until the others have told that they know of it, and divide by as many.
local function note_member(key, node, held, now, forget)
  local all = server.call('HGETALL', key)
  for at = 1, #all, 2 do
    local last = tonumber(string.match(all[at + 1], '^%d+'))
    if all[at] ~= node and last < now - forget then
      server.call('HDEL', key, all[at])
    end
  end
  server.call('HSETNX', key, node, '0 0')
  all = server.call('HGETALL', key)
  local nodes, others = #all / 2, 0
  for at = 1, #all, 2 do
    local divisor = tonumber(string.match(all[at + 1], '%d+$'))
    if all[at] ~= node and divisor > 0 then others = others + 1 / divisor end
  end
  local share = nodes
  if others + 1 / nodes > 1.000001 then share = math.max(held, 0) end
  -- The answer may never arrive: then the node goes on dividing by what it had.
  local least = share
  if held < 0 then least = 0 elseif held > 0 and held < share then least = held end
  server.call('HSET', key, node, string.format('%.0f %d', now, least))
  return nodes, share
end

-- By what each node divides that may be cut off in this interval. Found once an interval, and kept.
local function lapsed_of(members, flow, start, lapse)
  local text = server.call('HGET', flow, '_lapsed')
  if not text then
    local parts = {}
    local all = server.call('HGETALL', members)
    for at = 1, #all, 2 do
      local last, divisor = string.match(all[at + 1], '^(%d+) (%d+)$')
      if divisor ~= '0' and tonumber(last) < start - lapse then parts[#parts + 1] = divisor end
    end
    text = table.concat(parts, ' ')
    server.call('HSET', flow, '_lapsed', text)
  end
  local divisors = {}
  for divisor in string.gmatch(text, '%d+') do divisors[#divisors + 1] = tonumber(divisor) end
  return divisors
end

-- keys: server members flow; args: node, nodes it divides by (0: not known yet, -1: it accepts nothing alone), interval start, length, lapse, forget (all ms),
-- then digest, limit, wanted for each limit. Gives: now (ms), nodes, by how many it divides when it is alone, status, then
-- what is given of each limit.
local function take(keys, args)
  local node, held = args[1], tonumber(args[2])
  local start, length, lapse, forget = tonumber(args[3]), tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  local now = now_ms()
  local since = complete_since(keys[1], now)
  local status = OK
  if since > start then status = YOUNG
  elseif now > start + 2 * length then status = LATE
  elseif start > now + lapse / 2 then status = EARLY
  end
  local lapsed = {}
  if status == OK then
    lapsed = lapsed_of(keys[2], keys[3], start, lapse)
    server.call('PEXPIREAT', keys[3], string.format('%.0f', start + 4 * length))
  end
  local nodes, share = note_member(keys[2], node, held, now, forget)
  local answer = {now, nodes, share, status}
  for at = 7, #args, 3 do
    local given = 0
    if status == OK then
      local limit, wanted = tonumber(args[at + 1]), tonumber(args[at + 2])
      local left = limit - tonumber(server.call('HGET', keys[3], args[at]) or '0')
      for _, divisor in ipairs(lapsed) do left = left - math.floor(limit / divisor) end
      given = math.max(0, math.min(wanted, left, math.max(1, math.floor(left / (2 * nodes)))))
      if given > 0 then server.call('HINCRBY', keys[3], args[at], string.format('%.0f', given)) end
    end
    answer[#answer + 1] = given
  end
  return answer
end

-- keys: flow; args: digest, points for each limit. What was taken and is not needed.
local function hand_back(keys, args)
  for at = 1, #args, 2 do
    local given = tonumber(server.call('HGET', keys[1], args[at]) or '0')
    local points = math.min(given, tonumber(args[at + 1]))
    if points > 0 then server.call('HINCRBY', keys[1], args[at], string.format('%.0f', -points)) end
  end
  return #args / 2
end

-- keys: members; args: node. It ends in order, and will accept nothing any more.
local function leave(keys, args)
  return server.call('HDEL', keys[1], args[1])
end

server.register_function('cq1_take', take)
-- keys: any of the cluster's. Gives the server's clock (ms), and notes nothing.
local function ping(keys, args)
  return now_ms()
end

-- keys: flow usage; args: digests of namespaces (8 bytes). What was given out of each, and what claims.lua keeps of it.
local function look(keys, args)
  if #args == 0 then return {{}, {}} end
  return {server.call('HMGET', keys[1], unpack(args)), server.call('HMGET', keys[2], unpack(args))}
end

-- What only makes room goes on where the server is full.
server.register_function{function_name = 'cq1_hand_back', callback = hand_back, flags = {'allow-oom'}}
server.register_function{function_name = 'cq1_leave', callback = leave, flags = {'allow-oom'}}
server.register_function{function_name = 'cq1_look', callback = look, flags = {'no-writes'}}
server.register_function('cq1_ping', ping)
