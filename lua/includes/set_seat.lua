-- Writes a seat's state, keeping the mark of a row's first seat (upper case), and adds the
-- change to the number of free seats. Uses: seats_key, available_delta, lower_mark.
local function set_seat(seat, state)
  local old = redis.call('GETRANGE', seats_key, seat, seat)
  local lower = string.lower(old)
  if lower == state then return end
  if lower == 'a' then available_delta = available_delta - 1 end
  if state == 'a' then
    available_delta = available_delta + 1
    lower_mark(seat)
  end
  redis.call('SETRANGE', seats_key, seat, old == lower and state or string.upper(state))
end
