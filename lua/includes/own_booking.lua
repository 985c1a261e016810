-- Returns the caller's booking, or nil and the refusal. Another user's booking is answered like an
-- unknown one, so that its existence is not disclosed. An overdue hold expires first.
-- Uses: booking_id, user, now, read_booking, lapse.
local function own_booking()
  local b = read_booking(booking_id)
  if not b or b.user ~= user then return nil, { 'booking_unknown', now } end
  lapse(b)
  return b, nil
end
