// Seats as they change, for any number of browsers over one socket to Holdfast for each event.

const HEARTBEAT_MS = 15_000;
/** A browser that reads slower than this is disconnected; it comes back by itself and starts afresh. */
const UNREAD_BYTES_MAX = 1 << 20;

export function createPush(holdfast) {
  /** By event: the follower, and the responses that get its changes. */
  const channels = new Map();

  function open(event) {
    const readers = new Set();
    const follower = holdfast.follow(event, {
      onSeats: (seats, changed) => {
        const text = changed
          ? message("change", { seat_ids: changed, status: seats.of(changed[0]) })
          : message("seats", snapshot(seats));
        for (const reader of readers) write(reader, text);
      },
      onState: (state) => {
        for (const reader of readers) write(reader, message("connection", { state }));
      },
      // Such as of an unknown event. Who comes again gets a new follower, and its answer.
      onError: (error) => {
        console.error(`Event ${event} cannot be followed:`, error.message);
        channels.delete(event);
        for (const reader of readers) reader.end();
      },
    });
    const channel = { follower, readers };
    channels.set(event, channel);
    return channel;
  }

  return {
    /** Streams an event's seats as server-sent events until the browser leaves. */
    follow(event, res) {
      const channel = channels.get(event) ?? open(event);
      res.set({ "content-type": "text/event-stream", "cache-control": "no-store, no-transform" });
      res.flushHeaders();
      channel.readers.add(res);
      write(res, message("connection", { state: channel.follower.state }));
      if (channel.follower.seats) write(res, message("seats", snapshot(channel.follower.seats)));
      const heartbeat = setInterval(() => write(res, ":\n\n"), HEARTBEAT_MS);
      res.on("close", () => {
        clearInterval(heartbeat);
        channel.readers.delete(res);
        if (channel.readers.size > 0 || channels.get(event) !== channel) return;
        channels.delete(event);
        channel.follower.close();
      });
    },
  };
}

const message = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

/** All seats that are not free, by state. */
const snapshot = (seats) =>
  Object.fromEntries(["HOLD", "BOOKED", "BLOCKED"].map((status) => [status, seats.in(status)]));

function write(res, text) {
  if (res.writableEnded) return;
  if (res.writableLength > UNREAD_BYTES_MAX) res.destroy();
  else res.write(text);
}
