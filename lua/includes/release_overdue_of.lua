-- Ends the overdue holds that keep any of these seats (a list), however many others are overdue.
-- Uses: holders_key, deadlines_key, now, read_booking, lapse.
local function release_overdue_of(seats)
  local seen = {}
  for _, holder in ipairs(redis.call('HMGET', holders_key, unpack(seats))) do
    if holder and not seen[holder] then
      seen[holder] = true
      local deadline = redis.call('ZSCORE', deadlines_key, holder)
      local b = deadline and tonumber(deadline) <= now and read_booking(holder)
      if b then lapse(b) end
    end
  end
end
