-- POST: 64 new orders in one call, each of one unit of a product of the file. Counted are the orders, not the calls.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "common.lua")

local COUNT = 64
local ORDER = '{"order_id":"%s","items":[{"product_id":"%s","quantity":1}],"ttl_minutes":60}'
local products

function init(args)
  products = read_products(args[1])
  prepare()
end

function request()
  local orders = {}
  for i = 1, COUNT do
    orders[i] = ORDER:format(order_id(), choose(products))
  end
  return send("POST", wrk.path, ('{"orders":[%s]}'):format(table.concat(orders, ",")))
end

function response(status, _, body)
  if status ~= 200 then
    count(status, COUNT)
    return
  end
  for result in body:gmatch('"status":(%d+),"reservation":') do
    count(tonumber(result), 1)
  end
  for result in body:gmatch('"status":(%d+),"problem":') do
    count(tonumber(result), 1)
  end
end
