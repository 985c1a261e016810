// The shop's page: events, seats as they change, the waiting room, hold, pay, give up.
const $ = (id) => document.getElementById(id);
const eventId = Number(new URLSearchParams(location.search).get("event")) || undefined;
const TOKEN = `line-${eventId}`;
const HELD = `hold-${eventId}`;

let event;
let seats = new Map(); // seat id → its button
let chosen = new Set();
let booking;
let countdown;

/** Asks the shop; throws its problem document. */
async function ask(method, path, body) {
  const headers = { "content-type": "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers["x-waiting-room-token"] = token;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const result = await answer.json();
  if (!answer.ok) throw result;
  return result;
}

const money = (amount, currency) => {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
};

function say(text, isBad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", isBad);
}

/** Shows buttons: [words, what happens]. The first one is the primary one. */
function offer(...actions) {
  $("actions").replaceChildren(...actions.map(([words, act]) => {
    const button = document.createElement("button");
    button.textContent = words;
    button.addEventListener("click", () => act().catch(refused));
    return button;
  }));
}

function element(name, attributes = {}, ...children) {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.append(...children);
  return one;
}

async function showEvents() {
  const { events } = await ask("GET", "/events");
  const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  $("events").replaceChildren(...events.map((one) => {
    const link = element("a", { href: `/?event=${one.id}` }, one.name,
      element("small", {}, one.starts_at ? when.format(new Date(one.starts_at)) : one.venue));
    if (one.id === eventId) link.setAttribute("aria-current", "page");
    return element("li", {}, link);
  }));
  if (!eventId) say(events.length ? "Choose an event." : "No events yet.");
}

async function showSale() {
  event = await ask("GET", `/events/${eventId}`);
  $("title").textContent = event.name;
  $("sale").hidden = false;
  const map = await ask("GET", `/events/${eventId}/seats`);
  let section;
  let row;
  for (const seat of map.seats) {
    if (seat.section !== section) {
      section = seat.section;
      row = undefined;
      $("map").append(element("h3", {}, `${section} · ${money(seat.price, event.currency)}`));
    }
    if (row?.dataset.row !== (seat.row_number ?? "")) {
      row = element("div", { class: "row", "data-row": seat.row_number ?? "" }, element("span", {}, seat.row_number ?? ""));
      $("map").append(row);
    }
    const button = element("button", { class: "seat", "aria-pressed": "false" });
    button.dataset.label = `${section}, ${seat.seat_label}`;
    button.addEventListener("click", () => choose(seat.id));
    seats.set(seat.id, button);
    row.append(button);
    show(seat.id, seat.status);
  }
}

const WORDS = { AVAILABLE: "free", HOLD: "held", BOOKED: "sold", BLOCKED: "not for sale" };

function show(id, status) {
  const button = seats.get(id);
  if (!button) return;
  const isMine = booking?.seats.some((seat) => seat.seat_id === id) && status !== "AVAILABLE";
  button.dataset.status = status;
  button.toggleAttribute("data-mine", isMine);
  button.setAttribute("aria-label", `${button.dataset.label}, ${isMine ? "yours" : WORDS[status]}`);
  button.disabled = status !== "AVAILABLE";
  if (status !== "AVAILABLE" && chosen.delete(id)) button.setAttribute("aria-pressed", "false");
}

/** The shop pushes what changes; EventSource reconnects by itself and gets all seats again. */
function follow() {
  const stream = new EventSource(`/events/${eventId}/stream`);
  stream.addEventListener("open", () => ($("connection").textContent = ""));
  stream.addEventListener("error", () => ($("connection").textContent = "Connection lost. Reconnecting…"));
  stream.addEventListener("seats", ({ data }) => {
    const taken = new Map(Object.entries(JSON.parse(data)).flatMap(([status, ids]) => ids.map((id) => [id, status])));
    for (const id of seats.keys()) show(id, taken.get(id) ?? "AVAILABLE");
  });
  stream.addEventListener("change", ({ data }) => {
    const { seat_ids, status } = JSON.parse(data);
    for (const id of seat_ids) show(id, status);
  });
}

function choose(id) {
  if (booking) return;
  if (!chosen.delete(id)) chosen.add(id);
  seats.get(id).setAttribute("aria-pressed", String(chosen.has(id)));
  offerHold();
}

function offerHold() {
  const count = chosen.size;
  say(count ? "Nothing is charged until you pay." : "Choose seats.");
  offer(...(count ? [[`Hold ${count} ${count === 1 ? "seat" : "seats"}`, () => hold([...chosen])]] : []));
}

async function hold(ids) {
  booking = await ask("POST", "/holds", { event_id: eventId, seat_ids: ids });
  sessionStorage.setItem(HELD, booking.id);
  chosen = new Set();
  showBooking();
}

/** What is held is shown until its deadline, by the server's time left. */
function showBooking() {
  clearInterval(countdown);
  for (const seat of booking.seats) show(seat.seat_id, booking.status === "CONFIRMED" ? "BOOKED" : "HOLD");
  if (booking.status === "CONFIRMED") {
    say(`These seats are yours: ${booking.seats.map((seat) => seat.seat_label).join(", ")}.`);
    return offer(["Cancel and refund", giveUp]);
  }
  if (booking.status === "CONFIRMING") {
    say("We are confirming your payment. Do not pay again.");
    return offer(["Look again", lookAgain]);
  }
  if (booking.status !== "HOLD") return ended();
  const endsAt = performance.now() + booking.time_remaining_seconds * 1000;
  const tick = () => {
    const left = Math.ceil((endsAt - performance.now()) / 1000);
    if (left <= 0) return ended();
    say(`Held for you ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`);
  };
  tick();
  countdown = setInterval(tick, 1000);
  offer([`Pay ${money(booking.total_amount, booking.currency)}`, pay], ["Give up seats", giveUp]);
}

async function pay() {
  offer();
  try {
    booking = await ask("POST", `/holds/${booking.id}/confirm`, { payment_method: "card_ok", amount: booking.total_amount });
  } finally {
    showBooking();
  }
}

async function lookAgain() {
  booking = await ask("GET", `/holds/${booking.id}`);
  showBooking();
}

async function giveUp() {
  booking = await ask("DELETE", `/holds/${booking.id}`);
  showBooking();
}

function ended() {
  clearInterval(countdown);
  const wasCancelled = booking.status === "CANCELLED";
  booking = undefined;
  sessionStorage.removeItem(HELD);
  offerHold();
  say(wasCancelled ? "Your seats are free again." : "Your hold has ended. Nothing was charged. Choose again.");
}

/** Each refusal has its next step. */
function refused(problem) {
  if (problem.error === "waiting_room_required") return void waitInLine().catch(refused);
  if (problem.error === "waiting_room_token_invalid") sessionStorage.removeItem(TOKEN);
  if (problem.error === "booking_expired" && booking) return ended();
  for (const seat of problem.seats ?? []) if (seat.id) show(seat.id, seat.status);
  say(problem.detail ?? "The shop does not answer. Try again.", true);
  const groups = problem.alternatives ?? [];
  const label = (id) => seats.get(id)?.dataset.label ?? id;
  if (groups.length) offer(...groups.map((ids) => [`Hold ${ids.map(label).join("; ")}`, () => hold(ids)]));
}

/** Joins the line and asks again when the server says; the chosen seats are held when it is our turn. */
async function waitInLine() {
  offer();
  let place = await ask("POST", `/events/${eventId}/line`);
  if (place.token) sessionStorage.setItem(TOKEN, place.token);
  while (!place.admitted) {
    if (place.status === "sold_out" || place.status === "closed") return say(place.message);
    say(place.position === null ? place.message
      : `Your place in line ${place.position.toLocaleString()}. Keep this page open: it lets you in by itself.`);
    await new Promise((resolve) => setTimeout(resolve, place.refresh_after_seconds * 1000));
    place = await ask("GET", `/events/${eventId}/line`);
  }
  offerHold();
  say("It is your turn.");
}

async function start() {
  await showEvents();
  if (!eventId) return;
  await showSale();
  follow();
  const held = sessionStorage.getItem(HELD);
  if (!held) return offerHold();
  // Survives a reload.
  booking = await ask("GET", `/holds/${held}`);
  showBooking();
}

start().catch(refused);
