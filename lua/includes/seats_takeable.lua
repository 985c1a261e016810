-- Whether no other confirmed booking holds one of a booking's seats. Uses: holders_key,
-- read_booking.
local function seats_takeable(b)
  for seat in string.gmatch(b.seats, '%d+') do
    local holder = redis.call('HGET', holders_key, seat)
    local other = holder and holder ~= b.id and read_booking(holder)
    if other and other.status == 'CONFIRMED' then return false end
  end
  return true
end
