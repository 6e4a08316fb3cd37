-- Writes fields of one product's counters, each only if its version is newer than the one that stands.
-- KEYS[1]: the hash. ARGV[1]: 1 when the view is whole. ARGV[2...]: a field's name, its text, and so on.
-- A text that no writer of ours made counts as absent, and so does a key of another type.

local FORMS = {level = '^(%d+):(%d+):(%d+):(%d+):[01]$', summary = '^(%d+):(%d*):[01]:(%d+)$'}
local MOST_DIGITS = 15  -- what a double holds exactly

local function version_of(name, text)
  if not text then
    return -1
  end
  local numbers = {string.match(text, name == '_' and FORMS.summary or FORMS.level)}
  for _, number in ipairs(numbers) do
    if #number > MOST_DIGITS then
      return -1
    end
  end
  return tonumber(numbers[1]) or -1
end

local names = {'_'}
for i = 2, #ARGV, 2 do
  names[#names + 1] = ARGV[i]
end
local standing = redis.pcall('HMGET', KEYS[1], unpack(names))
if standing.err then
  redis.call('DEL', KEYS[1])
  standing = {}
end
if ARGV[1] ~= '1' and not standing[1] then
  return 0  -- a part of a view never makes a hash: it would pass for the whole
end

local newer = {}
for i = 2, #ARGV, 2 do
  local name, text = ARGV[i], ARGV[i + 1]
  if version_of(name, text) > version_of(name, standing[i / 2 + 1]) then
    newer[#newer + 1] = name
    newer[#newer + 1] = text
  end
end
if #newer > 0 then
  redis.call('HSET', KEYS[1], unpack(newer))
end
return #newer / 2
