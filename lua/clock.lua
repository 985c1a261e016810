#!lua flags=no-writes
-- clock: Redis' time, from the node that serves this slot.
-- KEYS: log
-- ARGV:
-- Reply: code now
-- Codes: ok

-- @include now

return { 'ok', now_ms() }
