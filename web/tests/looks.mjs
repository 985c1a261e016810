// How pages look, and what axe says of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axeFindings, choose, DESKTOP, PHONE, shoot } from './browser.mjs';
import { enter } from './console.mjs';

export function lookTests({ api, visitors }) {
  test('each page in each state: no serious finding of axe, pictures at 390 and 1440', async () => {
    const event = await api().createEvent('Opening night');
    for (let row = 0; row < 8; row++) await api().hold(event.id, [row * 24 + 3, row * 24 + 4, row * 24 + 15], `crowd-${row}`);
    await api().admin('POST', `/api/v1/events/${event.id}/blocks`, { seat_ids: [180, 181, 182], reason: 'desk' });
    const findings = [];
    const look = async (page, name) => {
      await shoot(page, name);
      findings.push(...(await axeFindings(page)).map((finding) => `${name}: ${finding}`));
    };
    for (const [size, dark] of [[DESKTOP, false], [DESKTOP, true], [PHONE, false], [PHONE, true]]) {
      const suffix = `${size.width}-${dark ? 'dark' : 'light'}`;
      const options = { user: `look-${suffix}`, size, dark };
      const list = await visitors().open('/', options);
      await list.waitForSelector('.event');
      await look(list, `events-${suffix}`);
      const page = await visitors().open(`/events/${event.id}`, options);
      await choose(page, 'Stalls, row E, seat 10');
      await look(page, `choice-${suffix}`);
      await page.click('#hold');
      await page.waitForSelector('.countdown');
      await look(page, `held-${suffix}`);
      await page.click('#pay');
      await page.waitForSelector('dialog');
      await look(page, `pay-${suffix}`);
      await page.keyboard.press('Escape');
      await page.click('text=Give up seats');
      await page.click('dialog >> text=Give up seats');
      await page.waitForSelector('#hold');
      const desk = await enter(visitors(), `/console/live/${event.id}`, options);
      await desk.waitForSelector('.tiles');
      await desk.waitForSelector('.requests');
      await look(desk, `console-live-${suffix}`);
      for (const [label, selector] of [['Events', 'tbody'], ['Bookings', '.find'], ['Report', '.report .table-card']]) {
        await desk.click(`.sidebar a:has-text("${label}")`);
        await desk.waitForSelector(selector);
        await look(desk, `console-${label.toLowerCase()}-${suffix}`);
      }
      await visitors().closeAll();
    }
    assert.deepEqual(findings, []);
  });
}
