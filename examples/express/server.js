// A small ticket shop that sells through Holdfast: the shop has the buyers, Holdfast the seats.
import express from "express";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Holdfast, HoldfastError, ProblemError } from "holdfast-client";
import { WebSocket } from "ws";
import { createPush } from "./push.js";

const SETTLE_MS_MAX = 10_000; // how long a buyer waits for the archive before "we are confirming"
const PUBLIC = fileURLToPath(new URL("public", import.meta.url));

/** The shop as an Express app; `baseUrl` is the address of Holdfast's API. */
export function createShop(baseUrl) {
  // Node 22 has a WebSocket of its own.
  const holdfast = new Holdfast({ baseUrl, webSocket: WebSocket, retry: { attempts: 3 } });
  const push = createPush(holdfast);
  const shop = express();
  shop.use(express.json({ limit: "16kb" }));
  shop.use((_, res, next) => {
    res.set({ "content-security-policy": "default-src 'self'; frame-ancestors 'none'", "x-content-type-options": "nosniff" });
    next();
  });

  // A real shop has sign-in and sessions; this one knows a buyer by a cookie that its page sets, and programs
  // by a header.
  shop.get("/", (req, res) => {
    if (!buyerOf(req)) res.cookie("buyer", `guest-${randomUUID()}`, { httpOnly: true, sameSite: "lax" });
    res.sendFile("index.html", { root: PUBLIC });
  });
  shop.use(express.static(PUBLIC, { index: false }));
  shop.use((req, res, next) => {
    const buyer = buyerOf(req);
    if (!buyer) return problem(res, 401, "unauthenticated", "Say who you are in the header X-User-Id.");
    // Everything below asks Holdfast in the buyer's name.
    req.holdfast = holdfast.as(buyer);
    next();
  });

  shop.get("/events", async (req, res) => res.json(await req.holdfast.listEvents({ page_size: 100 })));
  shop.get("/events/:id", async (req, res) => res.json(await req.holdfast.getEvent(eventOf(req))));
  shop.get("/events/:id/seats", async (req, res) => res.json(await req.holdfast.seatMap(eventOf(req))));
  shop.get("/events/:id/stream", (req, res) => push.follow(eventOf(req), res));

  // The waiting room: a place in line, and where it is now. The page asks again after `refresh_after_seconds`.
  shop.post("/events/:id/line", async (req, res) => res.json(await req.holdfast.joinWaitingRoom(eventOf(req))));
  shop.get("/events/:id/line", async (req, res) =>
    res.json(await req.holdfast.queueStatus(eventOf(req), tokenOf(req) ?? "")));

  shop.post("/holds", async (req, res) => {
    const booking = await req.holdfast.hold(req.body ?? {}, {
      alternatives: 2,
      waitingRoomToken: tokenOf(req),
      idempotencyKey: req.get("idempotency-key"),
      onAnswer: ({ headers }) => {
        if (headers.has("idempotent-replayed")) res.set("idempotent-replayed", headers.get("idempotent-replayed"));
      },
    });
    res.status(201).json(booking);
  });
  shop.get("/holds/:id", async (req, res) => res.json(await req.holdfast.getBooking(req.params.id)));
  shop.post("/holds/:id/confirm", async (req, res) => {
    const options = { settleMs: SETTLE_MS_MAX, idempotencyKey: req.get("idempotency-key") };
    const booking = await req.holdfast.confirm(req.params.id, req.body ?? {}, options);
    res.status(booking.status === "CONFIRMED" ? 200 : 202).json(booking);
  });
  shop.delete("/holds/:id", async (req, res) => {
    const booking = await req.holdfast.cancel(req.params.id, { settleMs: SETTLE_MS_MAX });
    res.status(booking.status === "CANCELLED" ? 200 : 202).json(booking);
  });

  // Express recognises an error handler by its four parameters.
  shop.use((error, req, res, next) => {
    if (res.headersSent) return next(error);
    if (error instanceof ProblemError) {
      // Holdfast's own words: what is wrong, and the next step.
      if (error.retryAfterMs !== undefined) res.set("retry-after", String(Math.ceil(error.retryAfterMs / 1000)));
      return res.status(error.status).type("application/problem+json").send(JSON.stringify(error.problem));
    }
    if (error instanceof HoldfastError) {
      console.error(error);
      res.set("retry-after", "1");
      return problem(res, 502, "holdfast_unreachable", "Holdfast does not answer. Try again with the same key.");
    }
    if (error.status) return problem(res, error.status, "bad_request", error.message);
    console.error(error);
    problem(res, 500, "internal_error", "Something went wrong on our side.");
  });
  return shop;
}

function buyerOf(req) {
  const cookie = /(?:^|;\s*)buyer=([\w-]+)/.exec(req.get("cookie") ?? "");
  return req.get("x-user-id") || cookie?.[1];
}

function eventOf(req) {
  const event = Number(req.params.id);
  if (Number.isSafeInteger(event)) return event;
  throw Object.assign(new Error("An event's id is a number."), { status: 400 });
}

const tokenOf = (req) => req.get("x-waiting-room-token");

function problem(res, status, error, detail) {
  res.status(status).type("application/problem+json").send(JSON.stringify({ status, error, detail }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const holdfast = process.env.SHOP_HOLDFAST_URL ?? "http://127.0.0.1:8000";
  const server = createShop(holdfast).listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () =>
    console.log(`Shop on http://127.0.0.1:${server.address().port}, selling through ${holdfast}`));
}
