#!lua flags=no-writes
-- snapshot: one event at one instant, with its position in the booking log.
--
-- Guarantee: all parts are of the same instant; entries of the log after `link` are not in it.
-- Detail `counts` leaves the lists and the bytes out, `seats` the lists.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: detail
-- Reply: code now, then by code: ok open generation version revision available next_deadline_ms
--        (-1: none) link ("id tag", or empty) inventory holders (list: seat, booking, ...)
--        bookings (list: id, record, ...) users (list: user, count, ...) status on_sale_at_ms
--        off_sale_at_ms
-- Codes: ok event_not_loaded
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local detail = ARGV[1]

-- @include now

local now = now_ms()
local f = redis.call('HMGET', event_key, 'state', 'generation', 'version', 'revision',
  'available', 'status', 'on_sale_at', 'off_sale_at')
if not f[1] then return { 'event_not_loaded', now } end
local next_deadline = redis.call('ZRANGE', deadlines_key, 0, 0, 'WITHSCORES')[2]
local inventory, holders, bookings, users = '', {}, {}, {}
if detail ~= 'counts' then inventory = redis.call('GET', seats_key) or '' end
if detail == 'all' then
  holders = redis.call('HGETALL', holders_key)
  bookings = redis.call('HGETALL', bookings_key)
  users = redis.call('HGETALL', users_key)
end
return {
  'ok', now, f[1] == 'open' and 1 or 0, f[2], f[3], f[4], f[5], tonumber(next_deadline or -1),
  redis.call('GET', link_key) or '', inventory, holders, bookings, users,
  f[6], f[7], f[8] or '0',
}
