-- Applies the caller's highest number and served place. INVARIANT: no number is given twice and
-- no served place falls back as long as a calling process remembers it. Served places that Redis
-- lost have no batch in its books: below `books_from` no place has lapsed.
-- Uses: room_key, room.
local function raise_floors(joined, served)
  if joined <= room.joined and served <= room.served then return end
  if served > room.served then
    room.served = served
    room.books_from = served + 1
  end
  room.joined = math.max(joined, room.joined, room.served)
  redis.call('HSET', room_key, 'joined', room.joined, 'served', room.served, 'books_from',
    room.books_from)
end
