// Speed of the map of 50,000 seats, measured in the browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shoot } from './browser.mjs';

const FIRST_VIEW_MS_MAX = 1000;
const FRAME_P95_MS_MAX = 50;
const CHANGES_A_SECOND = 10;
const SECONDS = 8;

export function measureTests({ api, visitors }) {
  test('50,000 seats: first view, and frames while ten changes a second arrive', async () => {
    const rows = Array.from({ length: 25 }, (_, row) => ({ row: String(row + 1), seats: 40 }));
    const sections = Array.from({ length: 50 }, (_, block) => ({ name: `Block ${101 + block}`, price: [9900, 7900, 5900, 3900][block >> 4 & 3], rows }));
    const event = await api().createEvent('Arena tour', { sections });
    // The server has the map in memory, as during a sale.
    await api().call('GET', `/api/v1/events/${event.id}/availability`);
    const page = await visitors().open('/', { user: 'measure' });
    const times = [];
    for (let round = 0; round < 3; round++) {
      await page.goto(`${visitors().url}/events/${event.id}`);
      await page.waitForFunction(() => performance.getEntriesByName('map-drawn').length > 0);
      times.push(await page.evaluate(() => Math.round(performance.getEntriesByName('map-drawn')[0].startTime)));
    }
    await shoot(page, 'arena-1440');
    await page.evaluate(() => {
      window.frames_ = [];
      let last = performance.now();
      const tick = (time) => {
        window.frames_.push(time - last);
        last = time;
        requestAnimationFrame(tick);
      };
      requestAnimationFrame(tick);
    });
    for (let i = 0; i < CHANGES_A_SECOND * SECONDS; i++) {
      const began = Date.now();
      const { status } = await api().hold(event.id, [1 + i * 600], `crowd-${i}`);
      assert.equal(status, 201);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / CHANGES_A_SECOND - (Date.now() - began))));
    }
    const frames = (await page.evaluate(() => window.frames_)).sort((a, b) => a - b);
    const p95 = frames[Math.floor(frames.length * 0.95)];
    const parts = await page.evaluate(() => ({
      page: performance.getEntriesByType('navigation')[0].responseEnd,
      scripts: Math.max(...performance.getEntriesByType('resource').filter((one) => one.name.endsWith('.js')).map((one) => one.responseEnd)),
      event: performance.getEntriesByType('resource').find((one) => /events\/\d+$/.test(one.name))?.responseEnd,
      seats: performance.getEntriesByName('seats-known')[0]?.startTime,
    }));
    console.log('last round, ms:', Object.entries(parts).map(([name, value]) => `${name} ${Math.round(value)}`).join(', '));
    console.log(`first view of 50,000 seats: ${times.join(', ')} ms; ${frames.length} frames, p50 ${frames[frames.length >> 1].toFixed(1)} ms, p95 ${p95.toFixed(1)} ms, longest ${frames.at(-1).toFixed(0)} ms`);
    assert.ok(Math.min(...times) < FIRST_VIEW_MS_MAX, `first view ${times}`);
    assert.ok(p95 < FRAME_P95_MS_MAX, `p95 of frames ${p95}`);
  });
}
