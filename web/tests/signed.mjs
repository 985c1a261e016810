// A shop's signed buyers: the page is opened with their token, and its socket with a ticket.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Api, eventually, servePages } from './server.mjs';

const SECRET = 'a secret of at least thirty-two bytes';

function sign(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

export function signedTests({ visitors }) {
  test('a buyer with a token hears of their own hold that ends, over a socket opened by ticket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-web-'));
    await writeFile(join(folder, 'key'), SECRET, { mode: 0o600 });
    const api = await Api.start({ HOLDFAST_AUTH: 'jwt', HOLDFAST_JWT_KEY_FILES: join(folder, 'key'), HOLDFAST_JWT_AUDIENCE: 'holdfast' });
    const pages = await servePages(api);
    try {
      const token = sign({ sub: 'ann', aud: 'holdfast', exp: Math.floor(Date.now() / 1000) + 600 });
      const event = await api.createEvent('Signed buyers', { hold_ttl_seconds: 3 });
      const page = await visitors().open('/', {});
      visitors().also(pages.url);
      const sockets = [];
      const heard = [];
      page.on('websocket', (socket) => {
        sockets.push(socket.url());
        socket.on('framereceived', ({ payload }) => heard.push(JSON.parse(payload).type));
      });
      await page.goto(`${pages.url}/events/${event.id}#token=${token}`);
      await eventually('the socket is open', () => heard.includes('snapshot'));
      assert.match(sockets.at(-1), /[?&]ticket=/);
      assert.doesNotMatch(sockets.at(-1), /user_id=/);
      assert.doesNotMatch(page.url(), /token/);
      const held = await fetch(`${api.url}/api/v1/bookings`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, 'user-agent': 'Mozilla/5.0 (tests)' },
        body: JSON.stringify({ event_id: event.id, seat_ids: [1] }),
      });
      assert.equal(held.status, 201, await held.text());
      await eventually('the end of the hold is pushed to its owner', () => heard.includes('booking_expired'));
    } finally {
      await visitors().closeAll();
      await pages.stop();
      await api.stop();
      await rm(folder, { recursive: true });
    }
  });
}
