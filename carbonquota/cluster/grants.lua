-- The third part of the library that functions.lua begins: what servers of the quota service have reserved of quotas.
--
--   {cq:<cluster>}:grant:<control>:<customer>   hash: "<provider>:<server>" -> what that server reserved there; `fence`, see below
--   {cq:<cluster>}:held:<server>                hash: "<control>:<customer>:<provider>" -> 1, all that a server has reserved
--
-- A server asks with what a quota leaves beside all that is reserved: limit less usage, as the database had it at a
-- `version`. What was reserved ends once usage has it, so whoever releases tells as `fence` the version that has, and
-- who asks with an older one is told to read the database first. Nothing is given where the store may have forgotten.

local FORGOT, GIVEN, BEHIND = 0, 1, 2
local FAR = 315360000000
local KEPT = 600000

local function forgot(key, since)
  return string.format('%.0f', complete_since(key, now_ms())) ~= since
end

-- keys: server; no args. Since when, in ms, nothing that the store was told can be missing from it.
local function grants_since(keys, args)
  return string.format('%.0f', complete_since(keys[1], now_ms()))
end

-- What is reserved of a customer's quota: in all, and at one provider.
local function reserved_of(key, provider)
  local total, there = 0, 0
  local all = server.call('HGETALL', key)
  for at = 1, #all, 2 do
    local where = string.match(all[at], '^(%d+):')
    if where then
      total = total + tonumber(all[at + 1])
      if where == provider then there = there + tonumber(all[at + 1]) end
    end
  end
  return total, there
end

-- keys: server held grant...; args: since, server, servers, most, then for each want the number of its grant key, control:customer,
-- provider, version, piece, size, held, room in all, room at the provider ('' for no limit). Gives: FORGOT, or for each want GIVEN,
-- what is reserved now (-1: nothing, it would pass a quota) and what both quotas had left before; or BEHIND and three zeros.
local function reserve(keys, args)
  if forgot(keys[1], args[1]) then return {FORGOT} end
  local number, servers, most = args[2], tonumber(args[3]), tonumber(args[4])
  local expires = string.format('%.0f', now_ms() + FAR)
  local answer = {}
  for at = 5, #args, 9 do
    local key, provider = keys[2 + tonumber(args[at])], args[at + 2]
    local fence = tonumber(server.call('HGET', key, 'fence') or '0')
    if fence > tonumber(args[at + 3]) then
      for _, part in ipairs({BEHIND, 0, 0, 0}) do answer[#answer + 1] = part end
    else
      local piece, size, held = tonumber(args[at + 4]), tonumber(args[at + 5]), tonumber(args[at + 6])
      local total, there = reserved_of(key, provider)
      local least, rests = 2^53, {2^53, 2^53}
      for which, taken in ipairs({total, there}) do
        local room = tonumber(args[at + 6 + which])
        if room then
          rests[which] = room - taken
          least = math.min(least, rests[which])
        end
      end
      local given = -1
      if size <= least + held then
        given = math.max(piece - held, 0, math.min(most, math.floor(least / (2 * servers))))
      end
      if given > 0 then
        server.call('HINCRBY', key, provider .. ':' .. number, string.format('%.0f', given))
        server.call('PEXPIREAT', key, expires)
        server.call('HSET', keys[2], args[at + 1] .. ':' .. provider, '1')
      end
      for _, part in ipairs({GIVEN, given, rests[1], rests[2]}) do answer[#answer + 1] = part end
    end
  end
  return answer
end

-- keys: held grant...; args: server, fence, then for each the number of its grant key, control:customer, provider, and how much
-- less is reserved there ('' for nothing at all any more).
local function let_off(keys, args)
  local number, fence, now = args[1], tonumber(args[2]), now_ms()
  for at = 3, #args, 4 do
    local key, field = keys[1 + tonumber(args[at])], args[at + 2] .. ':' .. args[1]
    local left = 0
    local there = tonumber(server.call('HGET', key, field) or '0')
    if args[at + 3] ~= '' then left = there - tonumber(args[at + 3]) end
    if there > 0 then
      if left > 0 then
        server.call('HSET', key, field, string.format('%.0f', left))
      else
        server.call('HDEL', key, field)
        server.call('HDEL', keys[1], args[at + 1] .. ':' .. args[at + 2])
      end
      if fence > tonumber(server.call('HGET', key, 'fence') or '0') then
        server.call('HSET', key, 'fence', args[2])
      end
      -- Whoever lives has read the database again long before that.
      if server.call('HLEN', key) == 1 then server.call('PEXPIREAT', key, string.format('%.0f', now + KEPT)) end
    end
  end
  return #args
end

-- keys: grant; no args. All that is reserved of a customer's quota: provider:server, amount, ...
local function reserved_here(keys, args)
  local found = {}
  local all = server.call('HGETALL', keys[1])
  for at = 1, #all, 2 do
    if all[at] ~= 'fence' then
      found[#found + 1] = all[at]
      found[#found + 1] = all[at + 1]
    end
  end
  return found
end

-- keys: held; no args.
local function held_by(keys, args)
  return server.call('HKEYS', keys[1])
end

server.register_function('cq1_grants_since', grants_since)
server.register_function('cq1_reserve', reserve)
server.register_function{function_name = 'cq1_let_off', callback = let_off, flags = {'allow-oom'}}
server.register_function{function_name = 'cq1_reserved', callback = reserved_here, flags = {'no-writes'}}
server.register_function{function_name = 'cq1_held', callback = held_by, flags = {'no-writes'}}
