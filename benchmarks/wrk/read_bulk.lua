-- POST: the availability of 20 different products of the file.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "common.lua")

local COUNT = 20
local products

function init(args)
  products = read_products(args[1])
  assert(#products.ids >= COUNT)
  prepare()
end

function request()
  local ids, is_chosen = {}, {}
  while #ids < COUNT do
    local id = choose(products)
    if not is_chosen[id] then
      is_chosen[id] = true
      table.insert(ids, id)
    end
  end
  return send("POST", wrk.path, ('{"product_ids":["%s"]}'):format(table.concat(ids, '","')))
end
