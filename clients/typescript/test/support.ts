// The server under test (HOLDFAST_URL), and a proxy in front of it that misbehaves on demand.
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { WebSocket } from "ws";
import { Holdfast, type HoldfastEvent, type HoldfastOptions, type WebSocketClass } from "holdfast-client";

export const URL_OF_API = process.env["HOLDFAST_URL"] ?? "http://127.0.0.1:8000";
/** As the README says, and as it compiles. */
export const webSocket: WebSocketClass = WebSocket;
let users = 0;

/** A user that nobody else has. */
export const someone = (): string => `user-${process.pid}-${Date.now()}-${++users}`;

/** A client of a new user. */
export const client = (options: HoldfastOptions = {}): Holdfast =>
  new Holdfast({ baseUrl: URL_OF_API, user: someone(), webSocket, ...options });

/** A client that may create events: the server under test is a development server, or has this key. */
export const admin = (): Holdfast => {
  const adminKey = process.env["HOLDFAST_ADMIN_KEY"];
  return new Holdfast({ baseUrl: URL_OF_API, ...(adminKey !== undefined && { adminKey }) });
};

/** A new event with two rows of ten seats. */
export const newEvent = (): Promise<HoldfastEvent> =>
  admin().createEvent({
    name: "Client test",
    currency: "EUR",
    sections: [{ name: "Stalls", price: 2500, rows: [{ row: "A", seats: 10 }, { row: "B", seats: 10 }] }],
  });

/** Asks again until the answer is as wanted: what is counted or seen elsewhere takes a moment. */
export async function until<T>(ask: () => Promise<T>, isWanted: (answer: T) => boolean, msMax = 10_000): Promise<T> {
  const deadline = Date.now() + msMax;
  for (;;) {
    const answer = await ask();
    if (isWanted(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`After ${msMax} ms still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

type Interference = (request: IncomingMessage, response: ServerResponse) => "handled" | "lose reply" | undefined;

export interface Proxy {
  url: string;
  /** Decides about each request; the default passes it on. */
  interfere: Interference;
  requests: IncomingMessage[];
  /** Breaks all sockets. */
  breakSockets(): void;
  close(): void;
}

/** A proxy to the server under test. */
export async function startProxy(): Promise<Proxy> {
  const target = new URL(URL_OF_API);
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    proxy.requests.push(request);
    const verdict = proxy.interfere(request, response);
    if (verdict === "handled") return;
    const { method, headers, url: path } = request;
    const upstream = forward({ host: target.hostname, port: target.port, method, path, headers }, (answer) => {
      if (verdict === "lose reply") {
        answer.resume();
        request.socket.destroy();
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    request.pipe(upstream);
  });
  server.on("upgrade", (request, socket: Socket, head) => {
    proxy.requests.push(request);
    const upstream = connect(Number(target.port), target.hostname, () => {
      const lines = [`GET ${request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
      upstream.write(lines.join("\r\n") + "\r\n\r\n");
      upstream.write(head);
      socket.pipe(upstream).pipe(socket);
    });
    for (const one of [socket, upstream]) {
      sockets.add(one);
      one.on("error", () => one.destroy());
      one.on("close", () => {
        sockets.delete(one);
        socket.destroy();
        upstream.destroy();
      });
    }
  });
  const proxy: Proxy = {
    url: "",
    interfere: () => undefined,
    requests: [],
    breakSockets: () => sockets.forEach((socket) => socket.destroy()),
    close: () => {
      proxy.breakSockets();
      server.closeAllConnections();
      server.close();
    },
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}
