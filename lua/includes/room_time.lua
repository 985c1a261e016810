-- Sets `room_now`, the waiting room's own time: Redis' time without the spans for which a sale that
-- had begun was postponed. INVARIANT: sessions, batches and owed places use it, so that no turn
-- passes while nothing can be booked. Uses: now, room_now.
local function room_time(halted_from, halted_until, halted_ms)
  local from, halted = tonumber(halted_from or 0), tonumber(halted_ms or 0)
  if from > 0 then
    halted = halted + math.max(0, math.min(now, tonumber(halted_until)) - from)
  end
  room_now = now - halted
end
