-- Writes the batches and the places of those who are owed one. Uses: room_key, room.
local function keep_books()
  redis.call('HSET', room_key, 'served', room.served, 'batches', cmsgpack.pack(room.batches),
    'late_places', room.late_places, 'late_until', room.late_until)
end
