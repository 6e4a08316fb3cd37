-- What the scripts of this folder share: new order ids, the choice of a product, counts of answers, one line of JSON.
--
-- wrk gives each of its threads a Lua of its own, in which `request` and `response` run; `setup` and `done` run in one
-- more. wrk measures the latencies itself, and corrects them for the requests that a slow answer kept from being sent.

local bit = require("bit")
local ffi = require("ffi")

ffi.cdef([[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
  int getpid(void);
  int kill(int pid, int signal);
]])

local MONOTONIC = 1
local SIGINT = 2
local KNUTH = 2654435761 -- odd, so that multiplying by it modulo 2^32 is one to one

-- --- in a thread ----------------------------------------------------------------------------------------------------

answers = {} -- how many, by status
began = 0
ended = 0

local moment = ffi.new("moment")

local function now()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

local function random_bytes(count)
  local source = assert(io.open("/dev/urandom", "rb"))
  local bytes = source:read(count)
  source:close()
  return bytes
end

-- A request with the token of the environment; `body` nil for none.
function send(method, path, body)
  if began == 0 then
    began = now()
  end
  return wrk.format(method, path, nil, body)
end

-- Seeds what is random, and sets the headers that all requests have.
function prepare()
  local a, b, c, d = random_bytes(4):byte(1, 4)
  math.randomseed(((a * 256 + b) * 256 + c) * 256 + d)
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCHMARK_TOKEN")
  wrk.headers["Content-Type"] = "application/json"
end

-- Counts answers with this status; a script may define another `response` that counts otherwise.
function count(status, number)
  answers[status] = (answers[status] or 0) + number
  ended = now()
end

function response(status)
  count(status, 1)
end

-- The run is over: nothing more is sent, and wrk, which would sleep until its time is up, ends as after Ctrl-C. It wants
-- a request all the same; nobody waits for its answer.
function stop()
  wrk.thread:stop()
  ffi.C.kill(ffi.C.getpid(), SIGINT)
  return send("GET", "/health/live")
end

local run = random_bytes(10):gsub(".", function(byte)
  return ("%02x"):format(byte:byte())
end)
local number = 0

-- A UUID that no other request has. As a random one would, each lands somewhere else in an index.
function order_id()
  number = number + 1
  local scattered = bit.tohex(bit.tobit(number * KNUTH % 2 ^ 32))
  return ("%s-%s-4%s-8%s-%s"):format(scattered, run:sub(1, 4), run:sub(5, 7), run:sub(8, 10), run:sub(9, 20))
end

-- The products of a file, a line each: the share of all requests that goes to this product and those above it, its id.
function read_products(path)
  local products = { shares = {}, ids = {} }
  for line in io.lines(path) do
    local share, id = line:match("^(%S+) (%S+)$")
    table.insert(products.shares, tonumber(share))
    table.insert(products.ids, id)
  end
  return products
end

-- One of the products, by their shares.
function choose(products)
  local wanted, low, high = math.random(), 1, #products.shares
  while low < high do
    local middle = math.floor((low + high) / 2)
    if products.shares[middle] > wanted then
      high = middle
    else
      low = middle + 1
    end
  end
  return products.ids[low]
end

-- --- when all is done -----------------------------------------------------------------------------------------------

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function done(summary, latency)
  assert(#threads == 1, "one thread, so that one clock says how long it took")
  local thread, counts = threads[1], {}
  for status, count in pairs(thread:get("answers")) do
    table.insert(counts, ('"%d": %d'):format(status, count))
  end
  local errors = summary.errors
  print(
    ('{"seconds": %.6f, "answers": {%s}, "unanswered": %d, "p50_ms": %.3f, "p99_ms": %.3f}'):format(
      thread:get("ended") - thread:get("began"),
      table.concat(counts, ", "),
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1000,
      latency:percentile(99) / 1000
    )
  )
end
