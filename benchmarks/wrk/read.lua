-- GET: PRODUCT in the path becomes a product of the file.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "common.lua")

local products

function init(args)
  products = read_products(args[1])
  prepare()
end

function request()
  return send("GET", (wrk.path:gsub("PRODUCT", choose(products))))
end
