-- The moments of a window's log that still count: those after `now - window_ms`. A log is its
-- moments in order, six bytes each, Unix ms. One later than now (the clock was set back) becomes
-- now: it counts for a window at most; the second result is whether there was one. Uses: now.
local function window_of(log, window_ms)
  local low, high = 0, math.floor(#log / 6)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if struct.unpack('>I6', log, middle * 6 + 1) <= now - window_ms then
      low = middle + 1
    else
      high = middle
    end
  end
  log = log:sub(low * 6 + 1)
  local early = #log
  while early > 0 and struct.unpack('>I6', log, early - 5) > now do early = early - 6 end
  local moved = (#log - early) / 6
  return log:sub(1, early) .. string.rep(struct.pack('>I6', now), moved), moved > 0
end
