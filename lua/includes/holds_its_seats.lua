-- Whether a booking still holds every one of its seats: a sale that the archive restored may have
-- taken one. Uses: holders_key.
local function holds_its_seats(b)
  for seat in string.gmatch(b.seats, '%d+') do
    if redis.call('HGET', holders_key, seat) ~= b.id then return false end
  end
  return true
end
