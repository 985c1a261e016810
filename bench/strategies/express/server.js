// The usual build: Express, node-redis, one Lua script for all seats of a request, and bookings
// that are written to MongoDB in the background.
//
// At its best: one process a processor (node:cluster), connections that are kept, EVALSHA, an
// Express without what it does not need, and insertMany of up to 1,000 bookings with majority and
// journal, while more come in. A winner waits for Redis alone.
//
// Gives up: a crash loses the bookings that were answered and not yet written: their seats are
// sold, and nobody knows to whom. Nothing expires.
//
//   node server.js --redis-url URL --mongodb-url URL --listen 127.0.0.1:0 --processes 2

import cluster from 'node:cluster';
import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import express from 'express';
import { MongoClient } from 'mongodb';
import { createClient, defineScript } from 'redis';
import { Writer } from './writer.js';

const BOOKING_SEATS_MAX = 10;
const KEEP_ALIVE_MS = 75_000;
const STOP_MS_MAX = 5_000;

const { values: options } = parseArgs({
  options: {
    'redis-url': { type: 'string', default: 'redis://127.0.0.1:6379' },
    'mongodb-url': { type: 'string', default: 'mongodb://127.0.0.1:27017' },
    namespace: { type: 'string', default: 'strategies' },
    listen: { type: 'string', default: '127.0.0.1:0' },
    processes: { type: 'string', default: String(availableParallelism()) },
    'until-stdin-closes': { type: 'boolean', default: false },
  },
});

/** KEYS: the set of the event's sold seats. ARGV: seats. Returns 1 if it took all, else 0. */
const TAKE = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    for _, is_sold in ipairs(redis.call('SMISMEMBER', KEYS[1], unpack(ARGV))) do
      if is_sold == 1 then return 0 end
    end
    redis.call('SADD', KEYS[1], unpack(ARGV))
    return 1
  `,
  parseCommand(parser, key, seats) {
    parser.pushKey(key);
    parser.push(...seats.map(String));
  },
  transformReply: (reply) => reply === 1,
});

if (cluster.isPrimary) lead();
else await serve();

/** Starts the processes, prints their common port, and ends with them. */
function lead() {
  let isStopping = false;
  const workers = Array.from({ length: Number(options.processes) }, () => cluster.fork());
  let ready = 0;
  cluster.on('message', (_worker, message) => {
    ready += 1;
    if (ready === workers.length) console.log(message.port);
  });
  cluster.on('exit', (worker, code) => {
    if (isStopping && Object.keys(cluster.workers).length === 0) process.exit(0);
    if (isStopping) return;
    console.error(`process ${worker.process.pid} ended with ${code}`);
    process.exit(1);
  });
  const stop = () => {
    if (isStopping) return;
    isStopping = true;
    for (const worker of workers) worker.send('stop');
    setTimeout(() => process.exit(1), STOP_MS_MAX).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  if (options['until-stdin-closes']) process.stdin.on('end', stop).resume();
}

/** One process of the cluster. */
async function serve() {
  const redis = createClient({ url: options['redis-url'], scripts: { take: TAKE } });
  redis.on('error', (error) => console.error(`Redis: ${error.message}`));
  await redis.connect();
  const mongodb = await MongoClient.connect(options['mongodb-url']);
  const bookings = mongodb
    .db(options.namespace)
    .collection('bookings', { writeConcern: { w: 'majority', journal: true } });
  const writer = new Writer(bookings);
  const key = (name) => `${options.namespace}:${name}`;

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', false);
  app.use(express.json({ limit: '64kb' }));
  app.post('/api/v1/events', async (request, response) => {
    const seats = request.body.sections.reduce((sum, section) => sum + section.capacity, 0);
    const id = await redis.incr(key('events'));
    await redis.set(key(`event:${id}`), String(seats));
    response.status(201).json({ id, total_seats: seats });
  });
  app.post('/api/v1/bookings', bookHandler({ redis, key, writer }));
  let hasFailed = false;
  app.use((error, _request, response, _next) => {
    if (error.status >= 400 && error.status < 500) {
      return problem(response, error.status, 'invalid_request', error.message);
    }
    // Only the first: writing thousands of lines would slow down what is being measured.
    if (!hasFailed) console.error(`failed, and perhaps others after it: ${error.message}`);
    hasFailed = true;
    problem(response, 503, 'unavailable', 'Please try again.');
  });

  const [host, port] = options.listen.split(':');
  const server = app.listen(Number(port), host, (error) => {
    if (error) throw error;
    process.send({ port: server.address().port });
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  process.on('message', async (message) => {
    if (message !== 'stop') return;
    server.close();
    server.closeAllConnections();
    await writer.drain();
    process.exit(0);
  });
  // The primary tells when to stop; Ctrl-C reaches all of them.
  process.on('SIGINT', () => {});
}

/** Answers requests for seats. */
function bookHandler({ redis, key, writer }) {
  /** Capacities of events, which never change. */
  const capacities = new Map();
  const capacityOf = async (event) => {
    if (!capacities.has(event)) {
      const found = await redis.get(key(`event:${event}`));
      if (found === null) return undefined;
      capacities.set(event, Number(found));
    }
    return capacities.get(event);
  };
  return async (request, response) => {
    const user = request.headers['x-user-id'];
    if (!user) return problem(response, 401, 'authentication_required', 'X-User-Id is missing.');
    const { event_id: event, seat_ids: seats } = request.body ?? {};
    const capacity = capacities.get(event) ?? (await capacityOf(event));
    if (capacity === undefined) return problem(response, 404, 'event_not_found', 'No such event.');
    if (!areValid(seats, capacity)) {
      return problem(response, 422, 'invalid_seats', 'Choose 1 to 10 seats of the event.');
    }
    if (writer.isFull) return problem(response, 503, 'unavailable', 'Please try again.');
    if (!(await redis.take(key(`sold:${event}`), seats))) {
      return problem(response, 409, 'seats_unavailable', 'These seats are not free.');
    }
    const id = randomUUID();
    const created = Date.now();
    const places = seats.map((seat) => `${event}:${seat}`);
    writer.add({ _id: id, event_id: event, places, user, created_ms: created });
    response.status(201).json({
      id,
      event_id: event,
      user_id: user,
      seat_ids: seats,
      status: 'CONFIRMED',
      created_at_ms: created,
    });
  };
}

function areValid(seats, capacity) {
  return (
    Array.isArray(seats) &&
    seats.length > 0 &&
    seats.length <= BOOKING_SEATS_MAX &&
    seats.every((seat) => Number.isInteger(seat) && seat >= 1 && seat <= capacity) &&
    (seats.length === 1 || new Set(seats).size === seats.length)
  );
}

function problem(response, status, error, detail) {
  response
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', status, error, detail }));
}
