-- Before each script that may write a room's live value. The caller has seen that its version is still the one that was decided
-- on.
local function set_live(live, version, blob)
  -- Never a number that was used before, also not by a primary whose last steps a failover lost: microseconds.
  local now = redis.call('TIME')
  local next = string.format('%.0f', math.max(version + 1, tonumber(now[1]) * 1000000 + tonumber(now[2])))
  redis.call('HSET', live, 'v', next, 's', blob)
  return next
end

local function publish_live(channel, version, blob)
  redis.call('SPUBLISH', channel, 'S' .. version .. ' ' .. blob)
end
