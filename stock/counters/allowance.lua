-- Takes units from one actor's token bucket, which refills with time.
-- KEYS[1]: the bucket, as `thousandths of units:milliseconds by Redis' clock`. A bucket that is absent is full, and so
-- is one that this service did not write. ARGV: units added in a second, the most that it holds, the units that are
-- needed, and how many more may be taken. Returns the units taken, and if none, the milliseconds until there are enough.

local MAX_DIGITS = 15  -- what a double holds exactly

local per_second, burst, least, more = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full = burst * 1000

local level = full
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'string' then
  local thousandths, at = string.match(stored, '^(%d+):(%d+)$')
  if thousandths and #thousandths <= MAX_DIGITS and #at <= MAX_DIGITS then
    level = math.min(full, tonumber(thousandths) + math.max(0, now - tonumber(at)) * per_second)
  end
end

local units = math.floor(level / 1000)
local taken, wait = 0, 0
if units >= least then
  taken = math.min(units, least + more)
else
  wait = math.ceil((least * 1000 - level) / per_second)
end
level = level - taken * 1000
local until_full = math.ceil((full - level) / per_second)
redis.call('SET', KEYS[1], string.format('%.0f:%.0f', level, now), 'PX', until_full + 1000)
return {taken, wait}
