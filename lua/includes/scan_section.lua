-- Scans one section, numbered by its first seat, from `first` on, for `quantity` seats of which
-- earlier scans of it found `found`. Returns the seats, as many as were found, their rank, and
-- the first seat that was not scanned, if there is one. A short first scan is enough where many
-- seats are free. Raises the section's mark (see `lower_mark`) over seats that are taken,
-- a good step at a time. Uses: event_key, seats_key, scan_seats_left, offer_seats.
local function scan_section(section, first, last, kind, quantity, split, found)
  local FIRST_LOOK_SEATS, MARK_STEP_SEATS = 2048, 256
  local mark = tonumber(redis.call('HGET', event_key, 'mark:' .. section) or section)
  local start = math.max(first, mark)
  if start > last then return {}, 0, nil end
  if scan_seats_left == 0 then return {}, 0, start end

  local seats = {}
  for _, seat in ipairs(found) do
    if string.lower(redis.call('GETRANGE', seats_key, seat, seat)) == 'a' then
      seats[#seats + 1] = seat
    end
  end
  local count, window = quantity - #seats, math.min(last - start + 1, scan_seats_left)
  local limit, offsets, rank = math.min(window, FIRST_LOOK_SEATS), nil, nil
  while true do
    -- What follows the last run shows whether it ends there.
    local bytes = redis.call('GETRANGE', seats_key, start, math.min(last, start + limit + count))
    if start == mark then
      local row, other = string.find(bytes, 'A', 1, true), string.find(bytes, 'a', 1, true)
      local free = math.min(row or limit + 1, other or limit + 1, limit + 1)
      if free > MARK_STEP_SEATS or start + free - 1 > last then
        redis.call('HSET', event_key, 'mark:' .. section, start + free - 1)
      end
    end
    for _, seat in ipairs(seats) do
      local at = seat - start + 1
      if at >= 1 and at <= #bytes then
        bytes = string.sub(bytes, 1, at - 1) .. 'h' .. string.sub(bytes, at + 1)
      end
    end
    offsets, rank = offer_seats(bytes, limit, count, kind, split)
    if limit == window or (#offsets == count and rank == 2) then break end
    limit = window
  end
  scan_seats_left = scan_seats_left - limit
  for _, offset in ipairs(offsets) do
    seats[#seats + 1] = string.format('%d', start + offset - 1)
  end
  return seats, rank, start + limit <= last and start + limit or nil
end
