// How pages look, and what axe says of them: each in each state, at 390 and 1440 pixels, light and dark.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axeFindings, choose, DESKTOP, PHONE, shoot } from './browser.mjs';
import { enter } from './console.mjs';
import { eventually } from './server.mjs';

const LOOKS = [
  [DESKTOP, false],
  [DESKTOP, true],
  [PHONE, false],
  [PHONE, true],
];

export function lookTests({ api, visitors }) {
  let event;
  let waits;
  const prepare = async () => {
    if (event) return;
    event = await api().createEvent('Opening night');
    for (let row = 0; row < 8; row++) await api().hold(event.id, [row * 24 + 3, row * 24 + 4, row * 24 + 15], `crowd-${row}`);
    await api().admin('POST', `/api/v1/events/${event.id}/blocks`, { seat_ids: [180, 181, 182], reason: 'desk' });
    waits = await api().createEvent('A long line');
    await api().admin('POST', `/api/v1/events/${waits.id}/waiting-room/enable`, { max_concurrent: 1, session_duration: 120 });
    await eventually('the first is let in', async () => (await api().call('POST', `/api/v1/events/${waits.id}/waiting-room/join`, {}, { user: 'first' })).body.status === 'admitted');
  };

  LOOKS.forEach(([size, dark], index) => {
    const suffix = `${size.width}-${dark ? 'dark' : 'light'}`;
    const column = 6 + 2 * index;
    const options = { user: `look-${suffix}`, size, dark };

    test(`pages of buyers at ${suffix}: no serious finding of axe`, async () => {
      await prepare();
      const look = new Looks(suffix, size.width);
      const page = await visitors().open('/', options);
      await page.waitForSelector('.event');
      await look.at(page, 'events');
      await page.goto(`${visitors().url}/events/${waits.id}`);
      await page.waitForSelector('.place');
      await look.at(page, 'waiting');
      await page.goto(`${visitors().url}/events/${event.id}`);
      await choose(page, `Stalls, row E, seat ${column}`);
      await look.at(page, 'choice');
      // Someone else is quicker.
      const seat = 4 * 24 + column;
      await page.route(/\/bookings\?alternatives/, async (route) => {
        await api().hold(event.id, [seat], `rival-${suffix}`);
        await route.continue();
      }, { times: 1 });
      await page.click('#hold');
      await page.waitForSelector('.toast .alternative');
      await look.at(page, 'conflict');
      await page.keyboard.press('1');
      await page.waitForSelector('.countdown');
      await look.at(page, 'held');
      await page.click('#pay');
      await page.waitForSelector('dialog');
      await look.at(page, 'pay');
      await page.click('dialog button[type=submit]');
      await page.waitForSelector('#receipt');
      await look.at(page, 'receipt');
      await page.click('text=Cancel and refund…');
      await page.waitForSelector('dialog');
      await look.at(page, 'refund');
      look.assertClean();
    });

    test(`pages of the console at ${suffix}: no serious finding of axe`, async () => {
      await prepare();
      const look = new Looks(suffix, size.width);
      const door = await visitors().open('/console', options);
      await door.waitForSelector('.door form');
      await look.at(door, 'console-key');
      const desk = await enter(visitors(), `/console/live/${event.id}`, options);
      await desk.waitForSelector('.requests');
      await desk.waitForSelector('.house-box canvas');
      await desk.waitForSelector('.health .ok');
      await look.at(desk, 'console-live');
      await desk.click('[role=radio]:has-text("Demand")');
      await desk.waitForSelector('.scale');
      await look.at(desk, 'console-demand');
      const pages = [
        ['events', 'tbody'],
        ['events/new', '.preview canvas'],
        ['bookings', 'tbody'],
        ['bookings?q=A-3', 'tbody'],
        ['rooms', 'tbody'],
        ['report', '.report .table-card'],
        ['limits', 'tbody'],
        ['access', '.body'],
        ['dead-letters', '.body .card'],
        ['audit', 'tbody'],
      ];
      for (const [path, selector] of pages) {
        await desk.goto(`${visitors().url}/console/${path}`);
        await desk.waitForSelector(selector);
        await look.at(desk, `console-${path.replace(/\W+/g, '-')}`);
      }
      await desk.goto(`${visitors().url}/console/bookings`);
      await desk.click('tbody a[data-row]');
      await desk.waitForSelector('.small-house canvas');
      await look.at(desk, 'console-booking');
      look.assertClean();
    });
  });
}

/** Pictures and findings of one size and theme. */
class Looks {
  constructor(suffix, width) {
    this.suffix = suffix;
    this.width = width;
    this.findings = [];
  }

  async at(page, name) {
    await shoot(page, `${name}-${this.suffix}`);
    this.findings.push(...(await axeFindings(page)).map((finding) => `${name}: ${finding}`));
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > this.width) this.findings.push(`${name}: ${width} pixels wide on ${this.width}`);
  }

  assertClean() {
    assert.deepEqual(this.findings, []);
  }
}
