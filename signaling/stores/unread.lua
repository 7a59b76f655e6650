-- How many messages of others a person has not read (rule L10): a bounded look back from the newest entry to the read mark.
-- A message counts once, edited or not; a deleted one does not. Reads only.
--
-- KEYS  1 log  2 bodies  3 read
-- ARGV  1 person  2 count at most  3 entries that are looked at, at most
-- Answers the number.

local mark = redis.call('HGET', KEYS[3], ARGV[1])
local least = mark and '(' .. mark or '-'
local most, left, count, newest = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, '+'

while left > 0 and count < most do
  local raw = redis.call('XREVRANGE', KEYS[1], newest, least, 'COUNT', math.min(left, 100))
  if #raw == 0 then break end
  left = left - #raw
  newest = '(' .. raw[#raw][1]
  local entries = with_bodies(raw, KEYS[2])
  for i = 4, #entries, 4 do
    local event = cmsgpack.unpack(entries[i])
    if event.by ~= ARGV[1] then
      -- An edit stands for its message, which may have been read before.
      local edited = event.kind == 'chat.edited' and (not mark or order(event.ref) > order(mark))
      if event.kind == 'chat.posted' or edited then count = count + 1 end
    end
  end
end
return math.min(count, most)
