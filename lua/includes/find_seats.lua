-- Finds `quantity` free seats in one of the sections, given in order of preference as
-- "section-first-last-price-kind,...": the lowest rank wins, the first among equals. Returns the
-- seats, ascending, and the price of one. If there are none: nil and, where something is left to
-- scan, the number of the section in the list, the seat to continue with, and the seats found there
-- so far. Uses: scan_section.
local function find_seats(sections, quantity, split, found)
  local PLACE = '(%d+)-(%d+)-(%d+)-(%d+)-(%a)'
  local best, best_rank, best_price, index = nil, nil, nil, 0
  for section, first, last, price, kind in string.gmatch(sections, PLACE) do
    index = index + 1
    local seats, rank, next_seat = scan_section(section, tonumber(first), tonumber(last), kind,
      quantity, split, found)
    found = {}
    if #seats == quantity and not (best and best_rank <= rank) then
      best, best_rank, best_price = seats, rank, tonumber(price)
    end
    if best and (best_rank == 2 or next_seat) then break end
    if next_seat then return nil, index, next_seat, table.concat(seats, ',') end
  end
  if not best then return nil, nil end
  table.sort(best, function(a, b) return tonumber(a) < tonumber(b) end)
  return best, best_price
end
