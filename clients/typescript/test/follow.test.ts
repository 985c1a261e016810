import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { after, before, beforeEach, test } from "node:test";
import { Follower, type MessageType, type ProblemError, type WebSocketLike } from "holdfast-client";
import { admin, client, newEvent, startProxy, URL_OF_API, webSocket, type Proxy } from "./support.js";

const TEST_MS_MAX = 60_000;
let proxy: Proxy;

before(async () => {
  proxy = await startProxy();
});
after(() => proxy.close());
beforeEach(() => {
  proxy.requests = [];
});

test("seats are those of the server, and follow its changes", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const ann = client();
  const follower = ann.follow(event.id);
  try {
    await follower.next("snapshot");
    assert.equal(follower.seats?.count, 20);
    assert.ok(follower.seats.beginsRow(1) && follower.seats.beginsRow(11) && !follower.seats.beginsRow(2));
    const changed = follower.next("seat_update", (message) => message.status === "HOLD");
    const held = await ann.hold({ event_id: event.id, seat_ids: [2, 3] });
    await changed;
    assert.deepEqual(follower.seats.in("HOLD"), [2, 3]);
    const freed = follower.next("seat_update", (message) => message.status === "AVAILABLE");
    await ann.cancel(held.id);
    await freed;
    assert.equal(follower.seats.of(2), "AVAILABLE");
    assert.equal(follower.seats.of(21), undefined);
  } finally {
    follower.close();
  }
  assert.equal(follower.state, "closed");
});

test("a broken socket resumes: what changed meanwhile comes, without a snapshot", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const ann = client({ baseUrl: proxy.url });
  const types: MessageType[] = [];
  const follower = ann.follow(event.id, { onMessage: (message) => types.push(message.type) });
  try {
    await follower.next("snapshot");
    proxy.breakSockets();
    const changed = follower.next("seat_update", (message) => message.status === "HOLD");
    await client().hold({ event_id: event.id, seat_ids: [7] });
    await changed;
    assert.equal(follower.seats?.of(7), "HOLD");
    assert.deepEqual(types.filter((type) => type === "snapshot" || type === "gap"), ["snapshot"]);
    const [, again] = proxy.requests.filter((request) => request.url?.startsWith("/ws/"));
    assert.match(again?.url ?? "", /since=\d+-\d+/);
  } finally {
    follower.close();
  }
});

test("after a gap the seats are a new snapshot", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const types: MessageType[] = [];
  const url = (since: string | undefined): Promise<string> =>
    Promise.resolve(`${URL_OF_API.replace("http", "ws")}/ws/events/${event.id}?since=${since ?? "999-1"}`);
  const follower = new Follower(event.id, { webSocket, url }, { onMessage: (message) => types.push(message.type) });
  try {
    await follower.next("snapshot");
    assert.deepEqual(types, ["connected", "gap", "snapshot"]);
    assert.equal(follower.seats?.count, 20);
  } finally {
    follower.close();
  }
});

test("an unknown event is an error, not a socket that never opens", { timeout: TEST_MS_MAX }, async () => {
  const refused = await new Promise<ProblemError>((resolve) => client().follow(4_000_000_000, { onError: resolve }));
  assert.equal(refused.code, "event_unknown");
});

/** A socket that does what it is told. */
class ToldSocket implements WebSocketLike {
  static readonly all: ToldSocket[] = [];
  readyState = 0;
  readonly #listeners: [string, (event: never) => void][] = [];

  constructor(readonly url: string) {
    ToldSocket.all.push(this);
  }

  send(): void {}

  close(): void {
    this.readyState = 3;
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.push([type, listener]);
  }

  tell(type: "open" | "close"): void {
    for (const [of, listener] of this.#listeners) if (of === type) listener({} as never);
  }
}

test("a late answer of why a socket did not open leaves the next socket alone", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  let answer: (refusal?: Error) => void = assert.fail;
  const check = (): Promise<void> =>
    new Promise((resolve, reject) => (answer = (refusal) => (refusal ? reject(refusal) : resolve())));
  const follower = new Follower(1, { webSocket: ToldSocket, url: () => Promise.resolve("ws://nobody"), check });
  await turn();
  ToldSocket.all[0]?.tell("close");
  // The first socket is silent for so long that it is given up, and another one is opened.
  for (let seconds = 0; seconds < 90; seconds += 5) {
    t.mock.timers.tick(5_000);
    await turn();
  }
  const [first, second] = ToldSocket.all;
  assert.deepEqual([ToldSocket.all.length, first?.readyState, second?.readyState], [2, 3, 0]);
  second?.tell("open");
  answer();
  await turn();
  assert.deepEqual([follower.state, second?.readyState], ["open", 0]);
  follower.close();
});

test("a closed follower leaves no listener at the caller's signal", () => {
  const { signal } = new AbortController();
  client().follow(1, { signal }).close();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("the waiting room is pushed, also after the socket broke", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  await admin().enableWaitingRoom(event.id, { max_concurrent: 1, session_duration: 300, claim_window: 120 });
  const [ann, bob] = [client(), client({ baseUrl: proxy.url })];
  const inside = await ann.waitForAdmission(event.id);
  const place = await bob.joinWaitingRoom(event.id);
  const follower = bob.follow(event.id, { waitingRoomToken: place.token ?? undefined });
  try {
    await follower.next("registration_confirmed");
    proxy.breakSockets();
    await follower.next("registration_confirmed");
    const admitted = follower.next("admitted");
    assert.ok(inside.token);
    await ann.leaveWaitingRoom(event.id, inside.token);
    const { token } = await admitted;
    const held = await bob.hold({ event_id: event.id, seat_ids: [1] }, { waitingRoomToken: token });
    assert.equal(held.status, "HOLD");
  } finally {
    follower.close();
  }
});
