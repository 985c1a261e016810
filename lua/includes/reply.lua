-- A reply that shows a booking in its current state. Uses: now, pack_booking.
local function reply(code, b)
  return { code, now, b.id, pack_booking(b) }
end
