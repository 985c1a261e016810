-- Ends a hold whose deadline has passed; returns whether it did. Uses: now, end_booking.
local function lapse(b)
  if b.status ~= 'HOLD' or b.deadline > now then return false end
  end_booking(b, 'EXPIRED', 'expired', '')
  return true
end
