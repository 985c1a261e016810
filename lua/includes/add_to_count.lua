-- Counts this number of requests at the present time. Uses: now.
local function add_to_count(c, requests)
  if requests == 0 then return end
  if c.kind == 'window' then
    c.log = c.log .. string.rep(struct.pack('>I6', now), requests)
  else
    c.debt = c.debt + requests * 1000
  end
  c.free = c.free - requests
  c.changed = true
end
