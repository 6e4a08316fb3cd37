-- POST: one unit of a product of the file for a new order, held for longer than a run takes.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "common.lua")

local BODY = '{"order_id":"%s","items":[{"product_id":"%s","quantity":1}],"ttl_minutes":60}'
local products

function init(args)
  products = read_products(args[1])
  prepare()
end

function request()
  return send("POST", wrk.path, BODY:format(order_id(), choose(products)))
end
