-- Sets `room` to the waiting room's settings and books. Without one in Redis: one that is off.
-- A batch is { first place, last place, opened, claimable until, places not claimed, places that
-- were opened }.
-- Uses: room_key, room, room_time.
local function load_room()
  local f = redis.call('HMGET', room_key, 'revision', 'on', 'surging', 'method',
    'max_concurrent', 'per_minute', 'session_ms', 'session_cap_ms', 'renews', 'claim_ms',
    'joined', 'served', 'books_from', 'draw', 'draw_joined', 'batches', 'late_places',
    'late_until', 'halted_from', 'halted_until', 'halted_ms', 'lenient_until')
  local function number(index) return tonumber(f[index] or 0) end
  room = {
    revision = number(1), is_on = f[2] == '1' or f[3] == '1', surging = f[3] == '1',
    method = f[4] or 'fifo', max_concurrent = number(5), per_minute = number(6),
    session_ms = number(7), session_cap_ms = number(8), renews = f[9] == '1',
    claim_ms = number(10), joined = number(11), served = number(12),
    books_from = tonumber(f[13] or 1), draw = f[14] or 'none', draw_joined = number(15),
    batches = f[16] and cmsgpack.unpack(f[16]) or {}, late_places = number(17),
    late_until = number(18), halted_until = number(20), lenient_until = number(22),
  }
  room_time(f[19], f[20], f[21])
end
