-- Holds that are granted: each request of each thread takes another seat. Once all seats are taken
-- the rest is refused: make the event large enough for the time (SEATS).
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local common = dofile(here .. "common.lua")

local event = common.number("EVENT_ID", nil, 1)
local seats = common.number("SEATS", 50000, 1)
-- As many as wrk's -t: a thread cannot know how many there will be.
local threads = common.number("THREADS", 2, 1)
local turn = 0

function setup(thread)
  common.add_thread(thread)
end

function init()
  if number >= threads then
    common.fail("wrk has more threads than THREADS=" .. threads .. " says")
  end
end

function request()
  local seat = turn * threads + number
  turn = turn + 1
  return common.hold(number, turn, event, seat % seats + 1)
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  common.report("grants", summary, latency, function(count)
    if count(409) > 0 then
      print("grants: seats ran out, or were held before: " .. count(409) .. " holds were refused")
    end
    return count(201) == 0 and "no hold was granted" or nil
  end)
end
