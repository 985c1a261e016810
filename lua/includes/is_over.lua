-- Whether an event's sale has ended: it was closed, or its end has come. Uses: ev, now.
local function is_over()
  return ev.status == 'CLOSED' or ev.off_sale_at > 0 and now >= ev.off_sale_at
end
