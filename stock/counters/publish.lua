-- Writes fields of one product's counters, each only if its version is newer than the stored one.
-- KEYS[1]: the hash. ARGV: a field's name, its text, and so on; without `_` they are a part of a view. If there is no
-- hash yet, a part stays without `_`, so no reader takes it for the whole view, and an older whole view cannot replace
-- it. A text that this service did not write counts as absent, and so does a key of another type.

local FORMS = {level = '^(%d+):(%d+):(%d+):(%d+):[01]:(%d+)$', summary = '^(%d+):(%d*):[01]:(%d+)$'}
local MAX_DIGITS = 15  -- what a double holds exactly

local function version_of(name, text)
  if not text then
    return -1
  end
  local numbers = {string.match(text, name == '_' and FORMS.summary or FORMS.level)}
  for _, number in ipairs(numbers) do
    if #number > MAX_DIGITS then
      return -1
    end
  end
  return tonumber(numbers[1]) or -1
end

local names = {}
for i = 1, #ARGV, 2 do
  names[#names + 1] = ARGV[i]
end
local standing = redis.pcall('HMGET', KEYS[1], unpack(names))
if standing.err then
  redis.call('DEL', KEYS[1])
  standing = {}
end

local newer = {}
for i = 1, #ARGV, 2 do
  local name, text = ARGV[i], ARGV[i + 1]
  if version_of(name, text) > version_of(name, standing[(i + 1) / 2]) then
    newer[#newer + 1] = name
    newer[#newer + 1] = text
  end
end
if #newer > 0 then
  redis.call('HSET', KEYS[1], unpack(newer))
end
return #newer / 2
