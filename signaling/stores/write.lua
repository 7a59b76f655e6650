-- The one way into a room's log: dedupe, rate, preconditions, append, rewrite, live value, publish. All or nothing.
-- Runs on Redis 7.0 and every Valkey. All keys carry the room's hash tag, so one slot of a Redis Cluster holds a room.
--
-- KEYS  1 log  2 meta  3 keys (prefix)  4 gone  5 current  6 live  7 rate  8 channel  9 bodies
-- ARGV  1 first half of the epoch of a log that begins  2 replicas that the answer waits for
--       3 microseconds per token  4 burst
--       5 person:key ("" none)  6 verb
--       7 rated person ("" none)
--       8 ref, entry id that was seen to hold it, and edit | delete | react ("" none)
--       9 live version that was seen ("" none)  10 live blob
--       11 id of a message that is answered ("" none)
--       12… key, body of each event
-- Answers: {'ok', version, ids…}  {'dup', id}  {'key'}  {'limited', ms}  {'stale'}  {'missing'}

local now = redis.call('TIME')
local day = math.floor(tonumber(now[1]) / 86400)
local keys_today, keys_before = KEYS[3] .. day, KEYS[3] .. (day - 1)

if ARGV[5] ~= '' then
  local known = redis.call('HGET', keys_today, ARGV[5]) or redis.call('HGET', keys_before, ARGV[5])
  if known then
    local id, verb = string.match(known, '^(%S+) (%S+)$')
    if verb ~= ARGV[6] then return {'key'} end
    -- Nobody knows whether the replicas have the first write; they have it when they have this one.
    if tonumber(ARGV[2]) > 0 then redis.call('HSET', KEYS[2], 'asked', now[1]) end
    return {'dup', id}
  end
end

-- Generic cell rate algorithm: the hash holds the theoretical arrival time of each person's next request.
local arrival
if ARGV[7] ~= '' then
  local us = tonumber(now[1]) * 1000000 + tonumber(now[2])
  local each, burst = tonumber(ARGV[3]), tonumber(ARGV[4])
  arrival = math.max(tonumber(redis.call('HGET', KEYS[7], ARGV[7]) or '0'), us) + each
  local early = arrival - us - each * burst
  if early > 0 then return {'limited', math.ceil(early / 1000)} end
end

local ref, seen, how = string.match(ARGV[8], '^(%S+) (%S+) (%S+)$')
if ref then
  local held = redis.call('HGET', KEYS[5], ref) or ref
  if held ~= seen or #redis.call('XRANGE', KEYS[1], held, held) == 0 then return {'stale'} end
end

local version = tonumber(redis.call('HGET', KEYS[6], 'v') or '0')
if ARGV[9] ~= '' and tonumber(ARGV[9]) ~= version then return {'stale'} end

-- A message is what was posted there: its body says so right at its beginning, or it has been edited or deleted since.
if ARGV[11] ~= '' and redis.call('HEXISTS', KEYS[5], ARGV[11]) == 0 then
  local body = redis.call('HGET', KEYS[9], ARGV[11])
  if not body or not string.find(string.sub(body, 1, 24), 'chat.posted', 1, true) then return {'missing'} end
end

-- Nothing is refused from here on.
local epoch = epoch_of(KEYS[2], redis.call('HGET', KEYS[2], 'epoch'), ARGV[1])
if arrival then
  redis.call('HSET', KEYS[7], ARGV[7], string.format('%.0f', arrival))
  redis.call('EXPIRE', KEYS[7], 3600)
end

if ARGV[9] ~= '' then version = set_live(KEYS[6], version, ARGV[10]) end
local answer = {'ok', version}
local prev = redis.call('HGET', KEYS[2], 'tail') or ''
for i = 12, #ARGV, 2 do
  local id = redis.call('XADD', KEYS[1], '*', 'p', prev, 'k', ARGV[i])
  redis.call('HSET', KEYS[9], id, ARGV[i + 1])
  answer[#answer + 1] = id
  redis.call('SPUBLISH', KEYS[8], 'L' .. epoch .. ' ' .. id .. ' ' .. prev .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 1])
  prev = id
end
if answer[3] then redis.call('HSET', KEYS[2], 'tail', prev, 'key', ARGV[#ARGV - 1]) end

if ref and how ~= 'react' then
  local removed = redis.call('XRANGE', KEYS[1], seen, seen)[1]
  redis.call('HSET', KEYS[4], removed[1], removed[2][4])
  redis.call('XDEL', KEYS[1], removed[1])
  redis.call('HDEL', KEYS[9], removed[1])
  redis.call('HSET', KEYS[5], ref, answer[3])
end

if ARGV[5] ~= '' then
  redis.call('HSET', keys_today, ARGV[5], answer[3] .. ' ' .. ARGV[6])
  redis.call('EXPIRE', keys_today, 172800)
end

if ARGV[9] ~= '' then publish_live(KEYS[8], version, ARGV[10]) end
return answer
