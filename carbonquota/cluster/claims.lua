-- The second half of the library that functions.lua begins.
--
-- What is held, over all nodes. Every metric is kept by its digest with all that it was charged, so what it held can be
-- given back by whoever knows the digest, and a namespace's usage is at all times the sum of the metrics that are kept.
--
-- A metric is held by runs: each start of a node is a run with a number of its own, which declares all that it holds
-- before it may claim. Then its runs before are dead, and what only dead runs hold is swept away: so nothing that a node
-- claimed just before it was killed stays for ever. A server that may have forgotten something, as it was restarted,
-- flushed or evicted a key, is another `epoch`: all nodes declare again, and nobody's claims are granted until all that
-- are known of have done so, or were waited for long enough. Nodes tell as well what namespaces held by the last word of
-- the store. As long as one that is known of has not declared, no namespace is taken to hold less than that, and what is
-- granted on top: what the missing one holds may not be given to others.

local CLAIM_WAIT, CLAIM_BEGIN = 1, 2
local SETTLE = 2000

-- Runs of nodes as the hash `runs` has them: node -> "<number> <state> <last heard, ms> <numbers before, each with a comma>"
-- States: what it holds is not known (so all wait for it), it declared it, or it declared it in the run before.
local UNKNOWN, DECLARED, BEFORE = 0, 1, 2

local function run_of(text)
  local number, state, heard, before = string.match(text or '0 0 0 ', '^(%d+) (%d) (%d+) (.*)$')
  return {number = tonumber(number), state = tonumber(state), heard = tonumber(heard), before = before}
end

local function keep_run(key, node, run)
  server.call('HSET', key, node,
    string.format('%.0f %d %.0f %s', run.number, run.state, run.heard, run.before))
end

local function epoch_of(keys, now)
  local info = server.call('INFO', 'server', 'stats')
  local run = string.match(info, 'run_id:(%w+)') .. '.' .. string.match(info, 'evicted_keys:(%d+)')
  local known = server.call('HMGET', keys[1], 'run', 'since')
  local since = tonumber(known[2] or '')
  if known[1] ~= run then
    since = now
    server.call('HSET', keys[1], 'run', run, 'since', string.format('%.0f', now))
    local all = server.call('HGETALL', keys[2])
    for at = 1, #all, 2 do
      local one = run_of(all[at + 1])
      one.state, one.heard = UNKNOWN, now
      keep_run(keys[2], all[at], one)
    end
  end
  return run .. ':' .. string.format('%.0f', since), since
end

local function bury(key, numbers)
  if numbers ~= '' then server.call('HSET', key, 'dead', (server.call('HGET', key, 'dead') or '') .. numbers) end
end

-- Note that a run was heard: its status, and the names of all nodes.
local function heard_of(keys, node, number, epoch, grace, forget)
  local now = now_ms()
  local running, since = epoch_of(keys, now)
  local all = server.call('HGETALL', keys[2])
  local status, nodes, mine, is_missing = OK, {}, nil, false
  if since > now - SETTLE then status = CLAIM_WAIT end
  for at = 1, #all, 2 do
    local run = run_of(all[at + 1])
    if all[at] == node then
      mine = run
    elseif run.heard < now - forget then
      server.call('HDEL', keys[2], all[at])
      if run.number > 0 then bury(keys[1], run.number .. ',' .. run.before) end
    else
      if run.state == UNKNOWN then
        is_missing = true
        if run.heard > now - grace then status = CLAIM_WAIT end
      end
    end
    nodes[#nodes + 1] = all[at]
  end
  if running ~= epoch or not mine or mine.number ~= number then
    status = CLAIM_BEGIN
  else
    if mine.state ~= DECLARED then status = CLAIM_WAIT end
    mine.heard = now
    keep_run(keys[2], node, mine)
  end
  local dead = server.call('HGET', keys[1], 'dead') or ''
  return {now, status, running, table.concat(nodes, ' '), dead == '' and 0 or 1}, is_missing, mine and mine.state
end

-- keys: stock runs; args: node, 1: it may hold what it did not declare before, then the nodes that it knows of. A node
-- begins, with nothing: its number and the epoch.
local function begin(keys, args)
  local now = now_ms()
  local epoch = epoch_of(keys, now)
  local before = run_of(server.call('HGET', keys[2], args[1]))
  local numbers = before.before
  if before.number > 0 then numbers = numbers .. before.number .. ',' end
  local number = server.call('HINCRBY', keys[1], 'next', 1)
  local state = before.state ~= UNKNOWN and args[2] ~= '1' and BEFORE or UNKNOWN
  keep_run(keys[2], args[1], {number = number, state = state, heard = now, before = numbers})
  for at = 3, #args do server.call('HSETNX', keys[2], args[at], string.format('0 0 %.0f ', now)) end
  return {number, epoch}
end

-- keys: stock runs; args: node, number, epoch. All that the node holds was declared: what it held before is nothing.
local function declared(keys, args)
  local now = now_ms()
  local run = run_of(server.call('HGET', keys[2], args[1]))
  if run.number ~= tonumber(args[2]) or epoch_of(keys, now) ~= args[3] then return 0 end
  bury(keys[1], run.before)
  keep_run(keys[2], args[1], {number = run.number, state = DECLARED, heard = now, before = ''})
  return 1
end

local NOTHING = '\0\0\0\0\0\0\0\0'

-- What namespaces hold: digest -> {digest above, metrics, logical size, physical size, data points, namespaces}
local function opened(key, digests)
  local held = {}
  for at = 1, #digests, 1000 do
    local last = math.min(at + 999, #digests)
    local found = server.call('HMGET', key, unpack(digests, at, last))
    for i = at, last do
      local text = found[i - at + 1]
      if text then held[digests[i]] = {struct.unpack('<c8ddddd', text)} end
    end
  end
  return held
end

local function saved(key, held)
  for digest, one in pairs(held) do
    if one.changed then
      if one[2] > 0 then
        server.call('HSET', key, digest,
          struct.pack('<c8ddddd', one[1], one[2], one[3], one[4], one[5], one[6]))
      else
        server.call('HDEL', key, digest)
      end
    end
  end
end

-- The number of a size, which is 24 bytes; the text of a number.
local function size_number(keys, size)
  local number = server.call('HGET', keys[5], size)
  if not number then
    number = server.call('HINCRBY', keys[1], 'sizes', 1)
    server.call('HSET', keys[5], size, number, '#' .. number, size)
  end
  return tonumber(number)
end

-- keys: stock runs names usage sizes recalled; args: node, number, epoch, grace, forget (ms), 1: limits are asked or 0: it declares,
-- then four blobs, all numbers in them little endian:
--   namespaces  of each 52 bytes: digest (8 bytes), which one is above it (uint32, from 1, 0 for none; an earlier one),
--               limits of metrics, logical size, physical size, data points, namespaces (doubles, -1 for none)
--   sizes       of each 24 bytes: logical size, physical size, data points (doubles)
--   metrics     of each 16 bytes: its digest
--   groups      of each 12 bytes: namespace, size (uint32, from 1), and how many of the metrics are of these
-- and 1 where no metric comes twice.
-- Gives: now, status, epoch, nodes, whether there is something to sweep; an int32 for each metric: 0 where it is
-- new, 1 where it was known, or -(namespace * 8 + control) where one refuses, both from 1; and what each namespace holds
-- (5 doubles).
local GRANTED, KNOWN = '\0\0\0\0', '\1\0\0\0'

-- The refusal of `count` new metrics that need so much each, 0 where there is room for all of them. From the leaf up; the
-- last that refuses is the one nearest to the root, which is the one to be named.
local function refusal(way, needs, count)
  local code, gained = 0, 0
  for i = 1, #way do
    local one = way[i]
    local limit, holds, least = one.limit, one.holds, one.least
    if limit then
      if limit[5] >= 0 and math.max(holds[6], least and least[5] or 0) + gained > limit[5] then
        code = -(one.number * 8 + 5)
      end
      for control = 4, 1, -1 do
        local used = holds[control + 1]
        if least then used = math.max(used, least[control]) end
        if limit[control] >= 0 and used + count * needs[control] > limit[control] then
          code = -(one.number * 8 + control)
        end
      end
    end
    gained = holds[2] == 0 and 1 or 0
  end
  return code
end

local function charge(way, needs, count)
  local gained = 0
  for i = 1, #way do
    local holds, least = way[i].holds, way[i].least
    if least then
      least[5] = least[5] + gained
      for control = 1, 4 do least[control] = least[control] + count * needs[control] end
      least.changed = true
    end
    holds[6] = holds[6] + gained
    gained = holds[2] == 0 and 1 or 0
    for control = 1, 4 do holds[control + 1] = holds[control + 1] + count * needs[control] end
    holds.changed = true
  end
end

-- Of the namespaces of a claim, a function that gives the way up from one of them, by its number.
local function ways_of(key, blob, asks, recalled)
  local digests, above, limits = {}, {}, {}
  local at = 1
  while at <= #blob do
    local digest, up, m, l, p, d, n
    digest, up, m, l, p, d, n, at = struct.unpack('<c8I4ddddd', blob, at)
    local i = #digests + 1
    digests[i], above[i] = digest, up
    limits[i] = asks and (m >= 0 or l >= 0 or p >= 0 or d >= 0 or n >= 0) and {m, l, p, d, n} or false
  end
  local held = opened(key, digests)
  for i = 1, #digests do
    if not held[digests[i]] then
      held[digests[i]] = {above[i] > 0 and digests[above[i]] or NOTHING, 0, 0, 0, 0, 0}
    end
  end
  local least = {}
  if recalled then
    for at = 1, #digests, 1000 do
      local last = math.min(at + 999, #digests)
      local found = server.call('HMGET', recalled, unpack(digests, at, last))
      for i = at, last do
        if found[i - at + 1] then least[digests[i]] = {struct.unpack('<ddddd', found[i - at + 1])} end
      end
    end
  end
  local ways = {}
  local function way_up(leaf)
    local way = ways[leaf]
    if not way then
      way = {digest = digests[leaf]}
      local number = leaf
      while number > 0 do
        local digest = digests[number]
        way[#way + 1] = {number = number, limit = limits[number], holds = held[digest], least = least[digest]}
        number = above[number]
      end
      ways[leaf] = way
    end
    return way
  end
  return way_up, held, digests, least
end

-- What was recalled is of no use once all nodes have declared: it goes some at a time.
local function drop_recalled(key)
  if server.call('HLEN', key) == 0 then return end
  local found, fields = server.call('HSCAN', key, '0', 'COUNT', 500)[2], {}
  for at = 1, #found, 2 do fields[#fields + 1] = found[at] end
  if #fields > 0 then server.call('HDEL', key, unpack(fields)) end
end

-- keys: stock runs recalled; args: node, number, epoch, and of each namespace its digest (8 bytes) and what it held at least
-- (5 doubles). Whether the run is known.
local function recall(keys, args)
  local run = run_of(server.call('HGET', keys[2], args[1]))
  if run.number ~= tonumber(args[2]) or epoch_of(keys, now_ms()) ~= args[3] then return 0 end
  for at = 1, #args[4], 48 do
    local digest = string.sub(args[4], at, at + 7)
    local amounts = {struct.unpack('<ddddd', args[4], at + 8)}
    local known = server.call('HGET', keys[3], digest)
    if known then
      known = {struct.unpack('<ddddd', known)}
      for control = 1, 5 do amounts[control] = math.max(amounts[control], known[control]) end
    end
    server.call('HSET', keys[3], digest,
      struct.pack('<ddddd', amounts[1], amounts[2], amounts[3], amounts[4], amounts[5]))
  end
  return 1
end

-- keys: stock runs usage; args: node, number, epoch, cursor. Some of what all namespaces hold, one after the other: the next
-- cursor, digests, and 5 doubles for each; nothing where the run is not known.
local function usages(keys, args)
  local run = run_of(server.call('HGET', keys[2], args[1]))
  if run.number ~= tonumber(args[2]) or epoch_of(keys, now_ms()) ~= args[3] then return {} end
  local found = server.call('HSCAN', keys[3], args[4], 'COUNT', 200)
  local digests, amounts = {}, {}
  for at = 1, #found[2], 2 do
    digests[#digests + 1], amounts[#amounts + 1] = found[2][at], string.sub(found[2][at + 1], 9)
  end
  return {found[1], table.concat(digests), table.concat(amounts)}
end

local function claim(keys, args)
  local number, asks = tonumber(args[2]), args[6] == '1'
  local result, is_missing, state = heard_of(keys, args[1], number, args[3], tonumber(args[4]), tonumber(args[5]))
  if not is_missing and result[2] == OK then drop_recalled(keys[6]) end
  local metrics, groups = args[9], args[10]
  if result[2] == CLAIM_BEGIN or (asks and result[2] ~= OK) or #metrics == 0 then
    result[6], result[7] = '', ''
    return result
  end
  -- What a node declares at its start was there before; all else comes on top of what was recalled.
  local recalled = is_missing and state == DECLARED and keys[6]
  local way_up, held, digests, least = ways_of(keys[4], args[7], asks, recalled)
  local own = struct.pack('<I4', number)
  local answer, seen, is_once = {}, {}, args[11] == '1'
  local sizes = {}
  local group, left, way, needs, value = 1, 0, nil, nil, nil
  for first = 1, #metrics, 16 * 1000 do
    local some, write = {}, {}
    for place = first, math.min(first + 16 * 1000 - 1, #metrics), 16 do
      some[#some + 1] = string.sub(metrics, place, place + 15)
    end
    local found = server.call('HMGET', keys[3], unpack(some))
    local at = 1
    while at <= #some do
      if left == 0 then
        local leaf, size
        leaf, size, left, group = struct.unpack('<I4I4I4', groups, group)
        if not sizes[size] then
          sizes[size] = {needs = {1, struct.unpack('<ddd', args[8], size * 24 - 23)},
            number = size_number(keys, string.sub(args[8], size * 24 - 23, size * 24))}
        end
        way, needs = way_up(leaf), sizes[size].needs
        -- What is kept of a metric is the same of all in a group.
        value = struct.pack('<c8I4c4', way.digest, sizes[size].number, own)
      end
      local last = math.min(at + left - 1, #some)
      local new = 0
      for i = at, last do
        if not found[i] then new = new + 1 end
      end
      -- There is room for all of them, or each is looked at.
      local has_room = new > 0 and refusal(way, needs, new) == 0
      local granted = 0
      local each = at
      if has_room and is_once and new == last - at + 1 then
        -- Nearly always, and there is nothing to look at.
        for i = at, last do
          write[#write + 1] = some[i]
          write[#write + 1] = value
        end
        answer[#answer + 1] = string.rep(GRANTED, new)
        granted, each = new, last + 1
      end
      for i = each, last do
        local digest, known = some[i], found[i]
        local code = KNOWN
        if known then
          -- After the 12 bytes of what it was charged come the runs that hold it.
          local is_held = false
          for place = 13, #known, 4 do is_held = is_held or string.sub(known, place, place + 3) == own end
          if not is_held and not seen[digest] then
            seen[digest] = true
            write[#write + 1] = digest
            write[#write + 1] = known .. own
          end
        elseif not seen[digest] then
          local refused = has_room and 0 or refusal(way, needs, 1)
          if refused == 0 then
            seen[digest] = true
            write[#write + 1] = digest
            write[#write + 1] = value
            code = GRANTED
            if has_room then granted = granted + 1 else charge(way, needs, 1) end
          else
            code = struct.pack('<i4', refused)
          end
        end
        answer[#answer + 1] = code
      end
      if granted > 0 then charge(way, needs, granted) end
      left = left - (last - at + 1)
      at = last + 1
    end
    for i = 1, #write, 2000 do
      server.call('HSET', keys[3], unpack(write, i, math.min(i + 1999, #write)))
    end
  end
  saved(keys[4], held)
  for digest, one in pairs(least) do
    if one.changed then
      server.call('HSET', recalled, digest, struct.pack('<ddddd', one[1], one[2], one[3], one[4], one[5]))
    end
  end
  local amounts = {}
  for i = 1, #digests do
    local one = held[digests[i]]
    amounts[i] = struct.pack('<ddddd', one[2], one[3], one[4], one[5], one[6])
  end
  result[6], result[7] = table.concat(answer), table.concat(amounts)
  return result
end

-- Let metrics go, of each its digest and all that is kept of it, as far as these runs hold them; how many are gone.
local function let_go(keys, metrics, runs)
  local held, sizes, gone = {}, {}, 0
  for _, metric in ipairs(metrics) do
    local digest, kept = metric[1], metric[2]
    local others = {}
    for place = 13, #kept, 4 do
      local run = string.sub(kept, place, place + 3)
      if not runs[run] then others[#others + 1] = run end
    end
    if #others == 0 then
      gone = gone + 1
      server.call('HDEL', keys[3], digest)
      local namespace, size = struct.unpack('<c8I4', kept)
      if not sizes[size] then
        sizes[size] = {1, struct.unpack('<ddd', server.call('HGET', keys[5], '#' .. string.format('%.0f', size)))}
      end
      local lost = 0
      while namespace ~= NOTHING do
        if not held[namespace] then
          held[namespace] = {struct.unpack('<c8ddddd', server.call('HGET', keys[4], namespace))}
        end
        local holds = held[namespace]
        for control = 1, 4 do holds[control + 1] = holds[control + 1] - sizes[size][control] end
        holds[6] = holds[6] - lost
        holds.changed = true
        lost = holds[2] == 0 and 1 or 0
        namespace = holds[1]
      end
    elseif (#others * 4) + 12 < #kept then
      server.call('HSET', keys[3], digest, string.sub(kept, 1, 12) .. table.concat(others))
    end
  end
  saved(keys[4], held)
  return gone
end

-- keys as of claim; args: node, number, epoch, digests (16 bytes each). How many metrics nobody holds any more; -1: begin.
local function release(keys, args)
  local run = run_of(server.call('HGET', keys[2], args[1]))
  if run.number ~= tonumber(args[2]) or epoch_of(keys, now_ms()) ~= args[3] then return -1 end
  local metrics, seen = {}, {}
  for at = 1, #args[4], 16 do
    local digest = string.sub(args[4], at, at + 15)
    local kept = not seen[digest] and server.call('HGET', keys[3], digest)
    seen[digest] = true
    if kept then metrics[#metrics + 1] = {digest, kept} end
  end
  return let_go(keys, metrics, {[struct.pack('<I4', run.number)] = true})
end

-- keys as of claim; args: how many to look at. Lets go what dead runs hold, some at a time; 0 once there are none.
local function sweep(keys, args)
  local kept = server.call('HMGET', keys[1], 'dead', 'sweeping', 'cursor')
  local dead, sweeping, cursor = kept[1] or '', kept[2] or '', kept[3] or '0'
  if sweeping == '' then
    if dead == '' then return 0 end
    -- Those that die in the meantime have a round of their own, as what was looked at already may be theirs.
    sweeping, cursor = dead, '0'
  end
  local runs = {}
  for number in string.gmatch(sweeping, '%d+') do runs[struct.pack('<I4', tonumber(number))] = true end
  local found = server.call('HSCAN', keys[3], cursor, 'COUNT', args[1])
  local metrics, seen = {}, {}
  for at = 1, #found[2], 2 do
    -- A scan may come to the same one twice.
    if not seen[found[2][at]] then metrics[#metrics + 1] = {found[2][at], found[2][at + 1]} end
    seen[found[2][at]] = true
  end
  let_go(keys, metrics, runs)
  if found[1] == '0' then
    dead, sweeping = string.sub(dead, #sweeping + 1), ''
  end
  server.call('HSET', keys[1], 'dead', dead, 'sweeping', sweeping, 'cursor', found[1])
  return dead == '' and 0 or 1
end

server.register_function('cq1_begin', begin)
server.register_function('cq1_declared', declared)
server.register_function('cq1_claims', claim)
server.register_function('cq1_recall', recall)
server.register_function('cq1_usages', usages)
-- What only makes room goes on where the server is full.
server.register_function{function_name = 'cq1_release', callback = release, flags = {'allow-oom'}}
server.register_function{function_name = 'cq1_sweep', callback = sweep, flags = {'allow-oom'}}
