-- Redis' time at which the waiting room's own time will be `at`. Uses: room, room_now, now.
local function redis_time(at)
  return at + now - room_now + math.max(0, room.halted_until - now)
end
