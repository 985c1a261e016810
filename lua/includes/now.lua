-- Redis' own time, Unix milliseconds: the only clock a script may read.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
