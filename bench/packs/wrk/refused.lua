-- Holds of seats that are taken: what almost everybody gets in a flash sale. The first request
-- takes the seat, all others are refused with 409.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local common = dofile(here .. "common.lua")

-- The same few seats for everybody.
local SEATS = 3
local event = common.number("EVENT_ID", nil, 1)
local turn = 0

function setup(thread)
  common.add_thread(thread)
end

function request()
  turn = turn + 1
  return common.hold(number, turn, event, turn % SEATS + 1)
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  common.report("refused", summary, latency, function(count)
    if count(409) == 0 then
      return "no hold was refused"
    end
    return count(409) < summary.requests * 0.9 and "most holds were not refused" or nil
  end)
end
