-- Lowers the mark of a released seat's section. INVARIANT: no seat of a section below its mark
-- (`mark:<first seat>` of the event) is free, so that a search may begin there. A section that
-- was never searched has none. Uses: event_key.
local section_starts
local function lower_mark(seat)
  -- The first seats of all sections, ascending, seven digits each.
  section_starts = section_starts or redis.call('HGET', event_key, 'sections')
  local wanted = string.format('%07d', seat)
  local low, high = 0, #section_starts / 7 - 1
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if string.sub(section_starts, middle * 7 + 1, middle * 7 + 7) <= wanted then
      low = middle
    else
      high = middle - 1
    end
  end
  local first = tonumber(string.sub(section_starts, low * 7 + 1, low * 7 + 7))
  local field = string.format('mark:%d', first)
  local mark = redis.call('HGET', event_key, field)
  if mark and tonumber(mark) > tonumber(seat) then redis.call('HSET', event_key, field, seat) end
end
