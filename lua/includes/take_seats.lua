-- Gives a booking that the archive has sold every one of its seats. A hold that loses a seat
-- is cancelled whole; a confirmation that loses one is refused when it commits.
-- Uses: holders_key, read_booking, set_seat, end_booking.
local function take_seats(b)
  for seat in string.gmatch(b.seats, '%d+') do
    local holder = redis.call('HGET', holders_key, seat)
    if holder and holder ~= b.id then
      local other = read_booking(holder)
      if other and other.status == 'HOLD' then
        end_booking(other, 'CANCELLED', 'cancelled', 'displaced')
      end
    end
    set_seat(seat, 'b')
    redis.call('HSET', holders_key, seat, b.id)
  end
end
