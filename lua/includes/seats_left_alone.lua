-- Which seats a choice leaves alone, of the pairs "neighbour:beyond,...": those whose neighbour
-- is free with nothing free beyond it (0: the row ends there, or the choice continues). Not applied
-- near the end of a sale, when less than a tenth of the event's seats is free.
-- Uses: seats_key, ev.
local function seats_left_alone(pairs_text)
  local RELAXED_BELOW_ONE_IN = 10
  if ev.available * RELAXED_BELOW_ONE_IN < ev.total then return '' end
  local function is_free(seat)
    return string.lower(redis.call('GETRANGE', seats_key, seat, seat)) == 'a'
  end
  local alone = {}
  for neighbour, beyond in string.gmatch(pairs_text, '(%d+):(%d+)') do
    if is_free(neighbour) and (beyond == '0' or not is_free(beyond)) then
      alone[#alone + 1] = neighbour
    end
  end
  return table.concat(alone, ',')
end
