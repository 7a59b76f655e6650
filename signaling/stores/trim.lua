-- One bounded step of retention: entries leave the log at its old end, with their bodies; after them, in steps of their own,
-- what is still known of entries up to there (`gone`, `current`). How far that has come is kept in meta, for whoever goes on.
--
-- KEYS  1 log  2 meta  3 gone  4 current  5 bodies
-- ARGV  1 greatest age in milliseconds ("" any)  2 how many entries stay at most ("" all)  3 how many a step takes at most
-- Answers {how many entries were removed, 1 when there is more to do}.

local most = tonumber(ARGV[3])

local due = {}
if ARGV[1] ~= '' then
  local now = redis.call('TIME')
  local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[1])
  due = redis.call('XRANGE', KEYS[1], '-', '(' .. string.format('%.0f', math.max(1, ms)) .. '-0', 'COUNT', most)
end
local excess = ARGV[2] == '' and 0 or math.min(most, redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2]))
if excess > #due then due = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', excess) end

if #due > 0 then
  local ids = {}
  for i, entry in ipairs(due) do ids[i] = entry[1] end
  redis.call('XDEL', KEYS[1], unpack(ids))
  redis.call('HDEL', KEYS[5], unpack(ids))
  local newest = due[#due]
  redis.call('HSET', KEYS[2], 'floor', newest[1], 'floor_key', newest[2][4], 'sweep', 'gone 0')
  return {#due, 1}
end

local sweep = redis.call('HGET', KEYS[2], 'sweep')
if not sweep then return {0, 0} end
local name, cursor = string.match(sweep, '^(%a+) (%d+)$')
local hash = name == 'gone' and KEYS[3] or KEYS[4]
local floor = order(redis.call('HGET', KEYS[2], 'floor'))
local found = redis.call('HSCAN', hash, cursor, 'COUNT', most)
for i = 1, #found[2], 2 do
  -- `gone` names the entry in the field, `current` in the value.
  local id = name == 'gone' and found[2][i] or found[2][i + 1]
  if order(id) <= floor then redis.call('HDEL', hash, found[2][i]) end
end
if found[1] ~= '0' then
  redis.call('HSET', KEYS[2], 'sweep', name .. ' ' .. found[1])
elseif name == 'gone' then
  redis.call('HSET', KEYS[2], 'sweep', 'current 0')
else
  redis.call('HDEL', KEYS[2], 'sweep')
  return {0, 0}
end
return {0, 1}
