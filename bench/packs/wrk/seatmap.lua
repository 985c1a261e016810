-- Seat maps, as pages fetch them again and again: with the ETag of the last answer, so that most are
-- 304 while nothing changes.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local common = dofile(here .. "common.lua")

local event = common.number("EVENT_ID", nil, 1)
local path = "/api/v1/events/" .. event .. "/seats"
local turn, tag = 0, nil

function setup(thread)
  common.add_thread(thread)
end

function request()
  turn = turn + 1
  return wrk.format("GET", path, common.headers(number, turn, { ["If-None-Match"] = tag }))
end

function response(status, headers)
  statuses[status] = (statuses[status] or 0) + 1
  if status == 200 then
    tag = headers["ETag"] or headers["etag"]
  end
end

function done(summary, latency)
  common.report("seatmap", summary, latency, function(count)
    if count(200) == 0 then
      return "no map was answered"
    end
    return count(304) == 0 and "no answer was 304, in spite of If-None-Match" or nil
  end)
end
