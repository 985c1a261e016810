-- Takes requests that were counted at these moments out of a window's log, one entry a moment.
-- Moments that are not there are passed over, and so are rates. The log is in order.
local function take_from_count(c, moments)
  if c.kind ~= 'window' then return end
  for moment in moments:gmatch('%d+') do
    local wanted = tonumber(moment)
    local low, high = 0, math.floor(#c.log / 6)
    while low < high do
      local middle = math.floor((low + high) / 2)
      if struct.unpack('>I6', c.log, middle * 6 + 1) < wanted then
        low = middle + 1
      else
        high = middle
      end
    end
    local at = low * 6 + 1
    if at < #c.log and struct.unpack('>I6', c.log, at) == wanted then
      c.log = c.log:sub(1, at - 1) .. c.log:sub(at + 6)
      c.changed = true
    end
  end
  c.free = math.max(0, c.quota - #c.log / 6)
end
