#!lua
-- beat: appends an empty entry to a quiet booking log, which shows readers that the log is alive.
--
-- Guarantee: at most one beat in `min_age_ms`, whatever the number of callers. None at the log's
-- limit, nor at Redis' memory limit: stale views refuse nothing, which is safe, and what is left
-- of both is for bookings that have to be finished.
-- KEYS: log link
-- ARGV: not_after nonce min_age_ms log_entries_max
-- Reply: code now, then by code: ok|unneeded position
-- Codes: ok unneeded log_full too_late
local log_key, link_key = KEYS[1], KEYS[2]
local not_after, nonce, min_age = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local log_entries_max = tonumber(ARGV[4])
local now, entries_appended = nil, 0

-- @include now
-- @include append_entry

now = now_ms()
if now > not_after then return { 'too_late', now } end
local newest = redis.call('GET', link_key)
if newest and now - tonumber(string.match(newest, '^%d+')) < min_age then
  return { 'unneeded', now, string.match(newest, '^%S+') }
end
if redis.call('XLEN', log_key) >= log_entries_max then return { 'log_full', now } end
return { 'ok', now, append_entry('beat', '', 0, 0, '', '') }
