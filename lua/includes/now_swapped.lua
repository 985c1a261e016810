-- Replaces `now` in tests: the clock is a key in the slot of the script's own keys.
local function now_ms()
  local clock_key = string.match(KEYS[1], '^.-}') .. ':test_clock'
  return tonumber(redis.call('GET', clock_key) or 0)
end
