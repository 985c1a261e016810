-- How many seats a booking has.
local function count_seats(b)
  local _, commas = string.gsub(b.seats, ',', '')
  return commas + 1
end
