#!/bin/bash
# Lua with coroutines and a pipe to a child.
. "$(dirname "$0")/common.sh"
have() { need lua5.4; }
run() {
    cat > job.lua <<'L'
local function exists(p) local f = io.open(p) if f then f:close() end return f end
local turn = coroutine.wrap(function() local n = 0 while true do n = n + 1 coroutine.yield(n) end end)
while not exists("stop") do
  local n, t = turn(), {}
  for i = 1, 2000 do t[#t + 1] = string.format("%d", i * n) end
  table.sort(t)
  if n % 10 == 0 then local p = io.popen("echo " .. n) assert(p:read("n") == n) p:close() end
  local f = io.open("count.new", "w") f:write(n) f:close()
  os.rename("count.new", "count")
end
L
    exec lua5.4 job.lua
}
phase "$1"
