-- A socket of a person appears (rules R3 and "8 sockets per person").
--
-- KEYS  1 sockets of the person (socket -> "node device milliseconds")  2 channel of the person
--       3 what rings for the person (room -> frame)
-- ARGV  1 socket  2 node  3 device  4 greatest number of sockets
--       5 milliseconds of its first arrival, 0 if this is it  6 number of sockets that have just gone  7… those sockets,
--       then the nodes that are alive
-- Answers {1 if the person had a live socket before, milliseconds of its arrival, 0 if a newer socket of the device has
-- replaced it, frames of what rings now}. Those that have to go hear it on the channel.

local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local arrived = tonumber(ARGV[5])
if arrived == 0 then arrived = ms end
local gone, alive, first_node = {}, {}, 7 + tonumber(ARGV[6])
for i = 7, first_node - 1 do gone[ARGV[i]] = true end
for i = first_node, #ARGV do alive[ARGV[i]] = true end

local function dismiss(socket, reason)
  redis.call('HDEL', KEYS[1], socket)
  redis.call('SPUBLISH', KEYS[2], 'K' .. socket .. ' ' .. reason)
end

local held, before, replaced = {}, 0, false
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local node, device, since = string.match(all[i + 1], '^(%S+) (%S+) (%d+)$')
  if all[i] == ARGV[1] then
    before = 1
  elseif not alive[node] then
    redis.call('HDEL', KEYS[1], all[i])
  else
    before = 1
    if gone[all[i]] then
      redis.call('HDEL', KEYS[1], all[i])
    elseif device == ARGV[3] and tonumber(since) > arrived then
      replaced = true
    elseif device == ARGV[3] then
      dismiss(all[i], 'device')
    else
      held[#held + 1] = {tonumber(since), all[i]}
    end
  end
end
if replaced then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {before, '0', {}}
end
table.sort(held, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
for i = 1, #held + 1 - tonumber(ARGV[4]) do dismiss(held[i][2], 'too_many') end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%.0f', arrived))
return {before, string.format('%.0f', arrived), redis.call('HVALS', KEYS[3])}
