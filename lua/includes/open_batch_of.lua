-- The batch in which a place may be claimed now, if there is one. Uses: room, room_now.
local function open_batch_of(place)
  for _, batch in ipairs(room.batches) do
    if place >= batch[1] and place <= batch[2] and room_now < batch[4] then return batch end
  end
  return nil
end
