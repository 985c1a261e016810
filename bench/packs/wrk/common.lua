-- What the scripts share: settings, users, and the report of status codes.
-- wrk runs `setup` once a thread in one Lua state, everything else in a state of each thread.

local common = {}

-- Programs that name themselves as such are refused by the bot rules where users are not trusted.
local AGENT = os.getenv("USER_AGENT") or "Mozilla/5.0 (load test)"

-- Ends wrk with a message. An error would be printed, and wrk would go on with requests of its own.
function common.fail(message)
  io.stderr:write(message .. "\n")
  os.exit(2)
end

-- A setting of the environment that has to be a whole number of at least `least`.
function common.number(name, otherwise, least)
  local given = os.getenv(name)
  local value = tonumber(given or "") or (given == nil or given == "") and otherwise
  if not value or value < least or value % 1 ~= 0 then
    common.fail(name .. " is not set to a whole number of at least " .. least ..
      ": bench/packs/README.md has the command lines")
  end
  return value
end

local tokens = {}
if (os.getenv("TOKENS_FILE") or "") ~= "" then
  local file, reason = io.open(os.getenv("TOKENS_FILE"))
  if not file then
    common.fail("TOKENS_FILE: " .. reason)
  end
  for line in file:lines() do
    if line ~= "" then
      tokens[#tokens + 1] = line
    end
  end
  if #tokens == 0 then
    common.fail("TOKENS_FILE has no tokens")
  end
end

-- Users of different runs and threads differ.
local run = string.format("wrk-%x", os.time())

-- Headers of a request by user `turn` of thread `number`: a token of TOKENS_FILE, else X-User-Id.
function common.headers(number, turn, more)
  local headers = { ["Accept"] = "application/json", ["User-Agent"] = AGENT }
  if #tokens > 0 then
    headers["Authorization"] = "Bearer " .. tokens[turn % #tokens + 1]
  else
    headers["X-User-Id"] = run .. "-" .. number .. "-" .. turn
  end
  for name, value in pairs(more or {}) do
    headers[name] = value
  end
  return headers
end

-- A request to hold one seat. Each has a user and an idempotency key of its own.
function common.hold(number, turn, event, seat)
  local headers = common.headers(number, turn, {
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = run .. "-" .. number .. "-" .. turn,
  })
  local body = string.format('{"event_id":%d,"seat_ids":[%d]}', event, seat)
  return wrk.format("POST", "/api/v1/bookings", headers, body)
end

local threads = {}

-- Called by `setup`: numbers the threads from 0.
function common.add_thread(thread)
  thread:set("number", #threads)
  thread:set("statuses", {})
  threads[#threads + 1] = thread
end

-- Prints how often each status was answered, and ends wrk with status 1 if `expect` finds a
-- problem in `{[status] = count}`. Writes the same to SUMMARY_JSON.
function common.report(name, summary, latency, expect)
  local totals, parts, json = {}, {}, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      totals[status] = (totals[status] or 0) + count
    end
  end
  local statuses = {}
  for status in pairs(totals) do
    statuses[#statuses + 1] = status
  end
  table.sort(statuses)
  for _, status in ipairs(statuses) do
    parts[#parts + 1] = status .. ": " .. totals[status]
    json[#json + 1] = string.format('"%d": %d', status, totals[status])
  end
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local p99 = latency:percentile(99) / 1000
  print(string.format("%s: statuses %s; p99 %.1f ms; without an answer %d", name,
    table.concat(parts, ", "), p99, lost))
  local problem = expect(function(status) return totals[status] or 0 end)
  for _, status in ipairs(statuses) do
    if status >= 500 and status ~= 503 then
      problem = totals[status] .. " answers were " .. status
    end
  end
  if lost > 0 then
    problem = lost .. " requests had no answer"
  end
  if (os.getenv("SUMMARY_JSON") or "") ~= "" then
    local file = assert(io.open(os.getenv("SUMMARY_JSON"), "w"))
    file:write(string.format('{"requests": %d, "lost": %d, "p99_ms": %.3f, "statuses": {%s}}\n',
      summary.requests, lost, p99, table.concat(json, ", ")))
    file:close()
  end
  if problem then
    print(name .. ": WRONG: " .. problem)
    os.exit(1)
  end
end

return common
