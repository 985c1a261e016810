-- After how many ms one more remains than now; 0 if all do. A window's log may be longer than its
-- quota, which was lowered then. Uses: now.
local function wait_of_count(c)
  if c.free == c.quota then return 0 end
  if c.kind == 'window' then
    local at = math.max(0, #c.log / 6 - c.quota)
    return struct.unpack('>I6', c.log, at * 6 + 1) + c.per - now
  end
  return math.ceil((c.debt - (c.quota - c.free - 1) * 1000) / c.per)
end
