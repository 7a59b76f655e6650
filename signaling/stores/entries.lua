-- Before each script that reads entries: an entry's place is in the stream, its body in a hash beside it. A stream only
-- marks a removed entry, and its bytes live on in memory, dumps and rewritten append-only files; a hash forgets (rule L8).

-- Ids as texts of one width, which compare as the ids do without losing digits in a double.
local function order(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #seq) .. seq
end

-- For each entry its id, the id before it, its key and its body, one after the other: a list of lists costs both sides more.
local function with_bodies(raw, bodies)
  local ids, flat = {}, {}
  for i, entry in ipairs(raw) do ids[i] = entry[1] end
  if #ids == 0 then return flat end
  local found = redis.call('HMGET', bodies, unpack(ids))
  for i, entry in ipairs(raw) do
    if found[i] then
      local at = #flat
      flat[at + 1], flat[at + 2], flat[at + 3], flat[at + 4] = entry[1], entry[2][2], entry[2][4], found[i]
    end
  end
  return flat
end
