-- Finds `count` adjacent free seats: the leftmost of the first run that leaves no seat alone, or,
-- as second result, of the first run that does (one seat longer than `count`). Considers runs that
-- begin in the first `limit` bytes. `bytes` begins where a run may begin, and shows
-- what follows the last run in full. Plain searches, so that sold seats cost next to nothing.
-- Uses: scan_runs_left.
local function best_run(bytes, limit, count)
  local FREE = 97 -- 'a'; 'A', the first seat of a row, belongs to another run
  local inner = string.rep('a', count)
  local opening = 'A' .. string.sub(inner, 2)
  local from, alone = 1, nil
  local at_inner, at_opening = 0, 0
  while scan_runs_left > 0 do
    if at_inner and at_inner < from then at_inner = string.find(bytes, inner, from, true) end
    if at_opening and at_opening < from then
      at_opening = string.find(bytes, opening, from, true)
    end
    local at = at_inner
    if at_opening and not (at and at < at_opening) then at = at_opening end
    if not at or at > limit then break end
    local after, beyond = string.byte(bytes, at + count, at + count + 1)
    if after ~= FREE or beyond == FREE then return at, nil end
    alone = alone or at
    from = at + count + 1
    scan_runs_left = scan_runs_left - 1
  end
  return nil, alone
end
