-- POST: one unit of a product of the file for a new order, held for longer than a run takes. With a second argument the
-- run is over after so many requests.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "common.lua")

local BODY = '{"order_id":"%s","items":[{"product_id":"%s","quantity":1}],"ttl_minutes":60}'
local products, left

function init(args)
  products = read_products(args[1])
  left = tonumber(args[2] or math.huge)
  prepare()
end

function request()
  if left == 0 then
    return stop()
  end
  left = left - 1
  return send("POST", wrk.path, BODY:format(order_id(), choose(products)))
end
