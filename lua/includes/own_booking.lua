-- The caller's booking, or nil and the reply to give instead. Another's booking is answered
-- like an unknown one: nothing is learnt from the difference. An overdue hold lapses first.
-- Uses: booking_id, user, now, read_booking, lapse.
local function own_booking()
  local b = read_booking(booking_id)
  if not b or b.user ~= user then return nil, { 'booking_unknown', now } end
  lapse(b)
  return b, nil
end
