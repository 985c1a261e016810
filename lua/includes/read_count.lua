-- Reads what a rule has counted, and how many more it grants (`free`): of a window the log of its
-- moments; of a rate its debt at a moment, in thousandths of requests, which `per` a second pay
-- off (GCRA, kept as a filling, which needs no fractions). If the clock was set back, what is read
-- is to be written also without a request. Uses: now, window_of.
local function read_count(c, kept)
  if c.kind == 'window' then
    c.log, c.changed = window_of(kept, c.per)
    c.free = math.max(0, c.quota - #c.log / 6)
  else
    local at, debt = kept:match('^(%d+) (%d+)$')
    at = tonumber(at) or now
    c.changed = at > now
    local paid = math.max(0, now - at) * c.per
    c.debt = math.min(math.max(0, (tonumber(debt) or 0) - paid), c.quota * 1000)
    c.free = math.floor(c.quota - c.debt / 1000)
  end
end
