-- POST: RESERVATION in the path becomes each line of the file, once. When there is none left, the run is over.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "common.lua")

local next_id

function init(args)
  next_id = io.lines(args[1])
  prepare()
end

function request()
  local id = next_id and next_id()
  if id then
    return send("POST", (wrk.path:gsub("RESERVATION", id)), "{}")
  end
  next_id = nil
  return stop()
end
