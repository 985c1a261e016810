#!lua flags=no-writes
-- free_seats: the number of free seats of each of several events of one partition.
--
-- Guarantee: all counts are of the same instant. The caller bounds the list.
-- KEYS: events...
-- ARGV:
-- Reply: code now, then by code: ok counts... (free seats of each event; -1: it is not open)
-- Codes: ok
local events = KEYS

-- @include now

local reply = { 'ok', now_ms() }
for i, event_key in ipairs(events) do
  local f = redis.call('HMGET', event_key, 'state', 'available')
  reply[i + 2] = f[1] == 'open' and tonumber(f[2]) or -1
end
return reply
