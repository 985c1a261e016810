// A small ticket shop that sells through Holdfast: the shop has the buyers, Holdfast the seats.
import express from "express";
import { fileURLToPath } from "node:url";

const ANSWER_MS_MAX = 15_000; // longer than a confirm waits for the archive
const PASSED_ON = ["content-type", "retry-after", "idempotent-replayed"];

/** The shop as an Express app; `holdfast` is the address of Holdfast's API. */
export function createShop(holdfast) {
  const shop = express();
  shop.use(express.json({ limit: "16kb" }));

  // Forwards a request in the buyer's name, and Holdfast's response with status and problem+json.
  async function ask(req, res, method, path, body) {
    const headers = { "x-user-id": req.get("x-user-id") };
    if (req.get("idempotency-key")) headers["idempotency-key"] = req.get("idempotency-key");
    if (body) headers["content-type"] = "application/json";
    const answer = await fetch(`${holdfast}/api/v1${path}`, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    for (const name of PASSED_ON) {
      if (answer.headers.has(name)) res.set(name, answer.headers.get(name));
    }
    res.status(answer.status).send(Buffer.from(await answer.arrayBuffer()));
  }

  // A real shop reads the buyer from its session; this one trusts a header.
  shop.use((req, res, next) => {
    if (req.get("x-user-id")) return next();
    problem(res, 401, "unauthenticated", "Say who you are in the header X-User-Id.");
  });

  const id = (req) => encodeURIComponent(req.params.id);
  shop.get("/events/:id/seats", (req, res) => ask(req, res, "GET", `/events/${id(req)}/seats`));
  shop.post("/holds", (req, res) => ask(req, res, "POST", "/bookings", req.body ?? {}));
  shop.post("/holds/:id/confirm", (req, res) =>
    ask(req, res, "POST", `/bookings/${id(req)}/confirm`, req.body ?? {}));
  shop.delete("/holds/:id", (req, res) => ask(req, res, "DELETE", `/bookings/${id(req)}`));

  // Express recognises an error handler by its four parameters.
  shop.use((error, req, res, next) => {
    if (res.headersSent) return next(error);
    if (error.status) return problem(res, error.status, "bad_request", error.message);
    console.error(error);
    res.set("retry-after", "1");
    problem(res, 502, "holdfast_unreachable", "Holdfast does not answer. Try again with the same key.");
  });
  return shop;
}

function problem(res, status, error, detail) {
  res.status(status).type("application/problem+json").send(JSON.stringify({ status, error, detail }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const holdfast = process.env.SHOP_HOLDFAST_URL ?? "http://127.0.0.1:8000";
  const server = createShop(holdfast).listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () =>
    console.log(`Shop on http://127.0.0.1:${server.address().port}, selling through ${holdfast}`));
}
