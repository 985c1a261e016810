-- The booking of this id, or nil. Uses: bookings_key, unpack_booking.
local function read_booking(id)
  local record = redis.call('HGET', bookings_key, id)
  return record and unpack_booking(id, record) or nil
end
