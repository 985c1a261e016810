-- How many served places are neither claimed nor lapsed. Uses: room, room_now.
local function unclaimed_places()
  local count = room_now < room.late_until and room.late_places or 0
  for _, batch in ipairs(room.batches) do
    if room_now < batch[4] then count = count + batch[5] end
  end
  return count
end
