-- What one section offers within `bytes`: offsets of at most `count` free seats, and their rank:
-- two a piece, and one more if a seat is left alone. General admission gives its lowest free
-- places, as one piece. Reserved rows give one piece or, if it may be `split`, as few as there
-- can be: whole runs, longest first, until one run has all that is missing. Uses: best_run.
local function offer_seats(bytes, limit, count, kind, split)
  local offsets, rank = {}, 0
  if kind == 'g' then
    local at = string.find(string.sub(bytes, 1, 1), '[aA]') or string.find(bytes, 'a', 1, true)
    while at and at <= limit and #offsets < count do
      offsets[#offsets + 1] = at
      at = string.find(bytes, 'a', at + 1, true)
    end
    return offsets, 2
  end
  local length = count
  while #offsets < count and length > 0 do
    length = math.min(length, count - #offsets)
    local at, alone = best_run(bytes, limit, length)
    if not at and alone and #offsets + length == count then at, rank = alone, rank + 1 end
    if at then
      rank = rank + 2
      for offset = at, at + length - 1 do offsets[#offsets + 1] = offset end
      -- Taken, for the pieces that follow.
      bytes = string.sub(bytes, 1, at - 1) .. string.rep('h', length)
        .. string.sub(bytes, at + length)
    elseif split then
      length = length - 1
    else
      break
    end
  end
  return offsets, rank
end
