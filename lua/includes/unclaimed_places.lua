-- How many served places are neither claimed nor lapsed. Uses: room, now.
local function unclaimed_places()
  local count = now < room.late_until and room.late_places or 0
  for _, batch in ipairs(room.batches) do
    if now < batch[4] then count = count + batch[5] end
  end
  return count
end
