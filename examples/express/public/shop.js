// The shop's page: events, seats as they change, the waiting room, hold, pay, give up.
import { money } from "./money.js";

const $ = (id) => document.getElementById(id);
const eventId = Number(new URLSearchParams(location.search).get("event")) || undefined;
const TOKEN = `line-${eventId}`;
const HELD = `hold-${eventId}`;
const HOLDING = `key-hold-${eventId}`;
const TICKETS_MAX = 10;
const LOOK_MS = 1000;
const SILENT = "The shop does not answer. Try again.";

let event;
let seats = new Map(); // seat id → its button
let chosen = new Map(); // seat id → the seat
let booking;
let countdown;
let trouble = ""; // with the last payment
let wish; // what was asked for last: held when it is our turn

/** Asks the shop; throws its problem document. */
async function ask(method, path, body, key) {
  const headers = { "content-type": "application/json" };
  if (key) headers["idempotency-key"] = key;
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers["x-waiting-room-token"] = token;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const result = await answer.json();
  if (!answer.ok) throw result;
  return result;
}

/** A change under a key that outlives a lost answer and a reload: sent again, it happens once. */
async function askOnce(name, path, body) {
  const wanted = JSON.stringify(body);
  const kept = JSON.parse(sessionStorage.getItem(name) ?? "null");
  const key = kept?.wanted === wanted ? kept.key : newKey();
  sessionStorage.setItem(name, JSON.stringify({ key, wanted }));
  try {
    const answer = await ask("POST", path, body, key);
    sessionStorage.removeItem(name);
    return answer;
  } catch (problem) {
    // Without an answer, or with one of a server in trouble, it may have happened: the next attempt is the same one.
    if (isRefusal(problem)) sessionStorage.removeItem(name);
    throw problem;
  }
}

/** A random key: `crypto.randomUUID` exists only on pages that came over TLS. */
const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether this answer stays the same. What has no status is no answer. */
const isRefusal = ({ status, error }) => status < 500 && status !== 429 && error !== "in_flight";

function say(text, isBad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", isBad);
}

/** Shows buttons: [words, what happens]. The first one is the primary one. */
function offer(...actions) {
  $("actions").replaceChildren(...actions.map(([words, act]) => {
    const button = element("button", { class: "act" }, words);
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

const time = (text) =>
  new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));

const STATES = { AVAILABLE: "Available", FEW_LEFT: "Few left", SOLD_OUT: "Sold out" };

/** What a buyer can expect of an event, and the word that colours it. */
function stateOf({ status, availability, on_sale_at }) {
  if (status === "SCHEDULED") return ["", on_sale_at ? `On sale ${time(on_sale_at)}` : "Not on sale yet"];
  if (status === "PAUSED") return ["", "The sale is paused"];
  if (status === "CLOSED") return ["", "The sale has ended"];
  return [availability, STATES[availability]];
}

async function showEvents() {
  const { events } = await ask("GET", "/events");
  $("events").replaceChildren(...events.map((one) => {
    const [state, words] = stateOf(one);
    const link = element("a", { href: `/?event=${one.id}` },
      element("strong", {}, one.name),
      element("small", {}, [one.venue, one.starts_at && time(one.starts_at)].filter(Boolean).join(" · ")),
      element("small", { "data-state": state }, words));
    if (one.id === eventId) link.setAttribute("aria-current", "page");
    return element("li", {}, link);
  }));
  if (!eventId && !events.length) say("No events yet.");
}

async function showSale() {
  event = await ask("GET", `/events/${eventId}`);
  document.title = `${event.name} · Tickets`;
  $("title").textContent = event.name;
  $("about").textContent = [event.venue, event.starts_at && time(event.starts_at)].filter(Boolean).join(" · ");
  $("sale").hidden = false;
  const map = await ask("GET", `/events/${eventId}/seats`);
  for (const section of event.sections) {
    const own = map.seats.filter((seat) => seat.section === section.name);
    const heading = element("h3", {}, section.name, element("small", {}, ` · ${money(section.price, event.currency)}`));
    $("map").append(heading, own.some((seat) => seat.row_number) ? rowsOf(own) : ticketsOf(section));
  }
  $("legend").hidden = seats.size === 0;
}

/** Rows of seats to choose from. */
function rowsOf(own) {
  const rows = element("div", { class: "rows" });
  let row;
  for (const seat of own) {
    if (row?.dataset.row !== seat.row_number) {
      row = element("div", { class: "row", "data-row": seat.row_number }, element("span", {}, seat.row_number));
      rows.append(row);
    }
    const button = element("button", { class: "seat", "aria-pressed": "false" });
    button.dataset.seat = seat.seat_label;
    button.dataset.label = `${seat.section}, ${seat.seat_label}`;
    button.title = `${seat.seat_label} · ${money(seat.price, event.currency)}`;
    button.addEventListener("click", () => choose(seat));
    seats.set(seat.id, button);
    row.append(button);
    show(seat.id, seat.status);
  }
  return rows;
}

/** General admission: how many, not which. */
function ticketsOf(section) {
  const count = element("select", { "aria-label": `Tickets, ${section.name}` },
    ...Array.from({ length: TICKETS_MAX }, (_, i) => element("option", {}, String(i + 1))));
  const button = element("button", { class: "act" }, "Hold tickets");
  button.addEventListener("click", () => {
    if (!booking) hold({ section: section.name, quantity: Number(count.value) }).catch(refused);
  });
  return element("div", { class: "tickets" }, count, button);
}

const WORDS = { AVAILABLE: "free", HOLD: "held", BOOKED: "sold", BLOCKED: "not for sale" };

function show(id, status) {
  const button = seats.get(id);
  if (!button) return;
  const isMine = status !== "AVAILABLE" && Boolean(booking?.seats.some((seat) => seat.seat_id === id));
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
  // The shop's own socket to Holdfast.
  stream.addEventListener("connection", ({ data }) => {
    const { state } = JSON.parse(data);
    if (state === "open") $("connection").textContent = "";
    if (state === "waiting") $("connection").textContent = "The shop has lost Holdfast: seats may be old. Reconnecting…";
  });
  stream.addEventListener("seats", ({ data }) => {
    const taken = new Map(Object.entries(JSON.parse(data)).flatMap(([status, ids]) => ids.map((id) => [id, status])));
    for (const id of seats.keys()) show(id, taken.get(id) ?? "AVAILABLE");
  });
  stream.addEventListener("change", ({ data }) => {
    const { seat_ids, status } = JSON.parse(data);
    for (const id of seat_ids) show(id, status);
  });
}

function choose(seat) {
  if (booking) return;
  if (!chosen.delete(seat.id)) chosen.set(seat.id, seat);
  seats.get(seat.id).setAttribute("aria-pressed", String(chosen.has(seat.id)));
  offerHold();
}

function offerHold() {
  const count = chosen.size;
  if (!count) {
    say(seats.size ? "Choose seats." : "");
    return offer();
  }
  const total = [...chosen.values()].reduce((sum, seat) => sum + seat.price, 0);
  say(`${money(total, event.currency)} · Nothing is charged until you pay.`);
  offer([`Hold ${count} ${count === 1 ? "seat" : "seats"}`, () => hold({ seat_ids: [...chosen.keys()] })]);
}

/** Holds all of these or none. */
async function hold(wanted) {
  wish = wanted;
  trouble = "";
  booking = received(await askOnce(HOLDING, "/holds", { event_id: eventId, ...wanted }));
  sessionStorage.setItem(HELD, booking.id);
  for (const id of chosen.keys()) seats.get(id).setAttribute("aria-pressed", "false");
  chosen = new Map();
  showBooking();
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
const labels = (held) => held.map((seat) => seat.seat_label).join(", ");

/** A booking, and when its hold ends on this page's clock, by the server's time left. */
const received = (answer) => ({ ...answer, endsAt: performance.now() + answer.time_remaining_seconds * 1000 });

/** What is held is shown until its deadline. */
function showBooking() {
  clearInterval(countdown);
  for (const seat of booking.seats) show(seat.seat_id, booking.status === "CONFIRMED" ? "BOOKED" : "HOLD");
  if (booking.status === "CONFIRMED") {
    say(`These seats are yours: ${labels(booking.seats)}.`);
    return offer(["Cancel and refund", giveUp]);
  }
  if (booking.status === "CONFIRMING") {
    say("We are confirming your payment. Do not pay again.");
    return offer(["Look again", lookAgain]);
  }
  if (booking.status === "VOIDED") {
    say("Your payment came too late for these seats. Nothing is charged; what was paid comes back.", true);
    return offer();
  }
  if (booking.status !== "HOLD") return ended();
  const secondsLeft = () => Math.ceil((booking.endsAt - performance.now()) / 1000);
  if (secondsLeft() <= 0) return void timeIsUp().catch(refused);
  const tick = () => {
    const left = secondsLeft();
    if (left <= 0) return void timeIsUp().catch(refused);
    say(`${trouble}Held for you ${clock(left)} · ${labels(booking.seats)}`, trouble !== "");
  };
  tick();
  countdown = setInterval(tick, 1000);
  offer([`Pay ${money(booking.total_amount, booking.currency)}`, pay], ["Give up seats", giveUp]);
}

/** Whether a hold has ended is the server's word, not this page's: it may be paid meanwhile. */
async function timeIsUp() {
  clearInterval(countdown);
  const mine = booking;
  offer();
  say("Your time is up.");
  for (;;) {
    try {
      booking = received(await ask("GET", `/holds/${mine.id}`));
      if (booking.status !== "HOLD" || booking.endsAt > performance.now()) return showBooking();
    } catch (problem) {
      if (isRefusal(problem)) throw problem;
      say(SILENT, true);
    }
    await pause(LOOK_MS);
  }
}

/** The countdown stands still: a payment that has begun in time may end later. */
async function pay() {
  const mine = booking;
  clearInterval(countdown);
  offer();
  trouble = "";
  say("Paying…");
  try {
    const payment = { payment_method: "card_ok", amount: mine.total_amount };
    booking = received(await askOnce(`key-pay-${mine.id}`, `/holds/${mine.id}/confirm`, payment));
  } catch (problem) {
    // Said beside the countdown: the seats stay held until then. Without an answer they may be paid.
    trouble = `${problem.detail ?? SILENT} `;
    booking = await ask("GET", `/holds/${mine.id}`).then(received, () => mine);
  }
  showBooking();
}

async function lookAgain() {
  booking = received(await ask("GET", `/holds/${booking.id}`));
  showBooking();
}

async function giveUp() {
  booking = received(await ask("DELETE", `/holds/${booking.id}`));
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
  if (problem.error === "booking_expired" && booking) return void lookAgain().catch(refused);
  for (const seat of problem.seats ?? []) if (seat.id) show(seat.id, seat.status);
  if (!booking) offerHold();
  say(problem.detail ?? SILENT, true);
  // The seats may be held already, and look taken: the same attempt under the same key tells.
  if (!booking && wish && !isRefusal(problem)) return offer(["Try again", () => hold(wish)]);
  const groups = problem.alternatives ?? [];
  const label = (id) => seats.get(id)?.dataset.seat ?? id;
  if (groups.length) offer(...groups.map((ids) => [`Hold ${ids.map(label).join(", ")}`, () => hold({ seat_ids: ids })]));
}

/** Joins the line and asks again when the server says; what was wanted is held when it is our turn. */
async function waitInLine() {
  offer();
  say("");
  let place = await ask("POST", `/events/${eventId}/line`);
  if (place.token) sessionStorage.setItem(TOKEN, place.token);
  try {
    while (!place.admitted) {
      if (place.status === "sold_out" || place.status === "closed") return say(place.message);
      showPlace(place);
      place = await nextPlace(place);
    }
  } finally {
    $("line").hidden = true;
  }
  if (wish) await hold(wish);
  else offerHold();
}

/** Never gives up a place for a shop that is away for a while. */
async function nextPlace({ refresh_after_seconds: seconds }) {
  for (;;) {
    // Many pages ask: not in the same moment, and not too early.
    await pause(seconds * 1000 * (1 + Math.random() / 10));
    try {
      return await ask("GET", `/events/${eventId}/line`);
    } catch (problem) {
      if (problem.error === "waiting_room_off") return { admitted: true };
      if (isRefusal(problem)) throw problem;
      $("wait").textContent = "The shop does not answer. Your place is kept: keep this page open.";
    }
  }
}

function showPlace({ position, estimated_wait_seconds: wait }) {
  $("line").hidden = false;
  // Before a draw there are no places yet.
  $("place").textContent = position === null ? "–" : position.toLocaleString();
  const about = wait === null || wait === undefined ? "" : `About ${wait < 60 ? "a minute" : `${Math.ceil(wait / 60)} min`}. `;
  $("wait").textContent = `${about}Keep this page open: it lets you in by itself.`;
}

async function start() {
  await showEvents();
  if (!eventId) return;
  await showSale();
  follow();
  const held = sessionStorage.getItem(HELD);
  // Both survive a reload: an attempt that was not answered, and what is held.
  const unanswered = sessionStorage.getItem(HOLDING);
  if (unanswered) return hold(JSON.parse(JSON.parse(unanswered).wanted));
  if (!held) return offerHold();
  booking = await ask("GET", `/holds/${held}`);
  showBooking();
}

start().catch(refused);
