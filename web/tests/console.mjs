// The operator's console, against a real server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { shoot } from './browser.mjs';
import { ADMIN_KEY, Api, eventually, servePages } from './server.mjs';

const arena = fileURLToPath(new URL('../../examples/layouts/arena.json', import.meta.url));

/** Its buyers come over 15 s, wait in line, and think. */
const CROWD_MS_MAX = 60_000;

/** Opens the console and shows it the key. */
export async function enter(visitors, path = '/console', options = {}) {
  const page = await visitors.open(path, options);
  await page.fill('input[type=password]', ADMIN_KEY);
  await page.click('text=Open the console');
  await page.waitForSelector('.sidebar');
  return page;
}

export function consoleTests({ api, visitors }) {
  test('a wrong admin key is refused in words; the right one opens the console, for this tab only', async () => {
    const page = await visitors().open('/console');
    await page.fill('input[type=password]', 'wrong');
    await page.click('text=Open the console');
    await page.waitForSelector('text=This is not an admin key.');
    await shoot(page, 'console-key-1440');
    await page.fill('input[type=password]', ADMIN_KEY);
    await page.click('text=Open the console');
    await page.waitForSelector('.sidebar');
    assert.equal(await page.evaluate(() => localStorage.getItem('holdfast.admin')), null);
    await page.reload();
    await page.waitForSelector('.sidebar');
  });

  test('the console pauses a sale with a confirmation; console and buyer show it; resumed, both sell again', async () => {
    const event = await api().createEvent('Paused sale');
    await api().hold(event.id, [1, 2, 3], 'bob');
    const buyer = await visitors().open(`/events/${event.id}`, { user: 'ann' });
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.waitForFunction(() => document.querySelector('.tiles')?.textContent?.includes('€285.00'));
    await page.click('text=Pause sale');
    await page.waitForSelector('dialog');
    assert.match(await page.innerText('dialog'), /Pause Paused sale\?[\s\S]*New holds stop at once\. 3 held seats can still be paid\./);
    await shoot(page, 'console-pause-1440');
    await page.click('dialog >> text=Pause sale');
    await page.waitForSelector('.topbar .badge >> text=Paused');
    await buyer.waitForSelector('.map-banner >> text=The sale is paused. Held seats can still be paid.');
    assert.ok(await buyer.locator('#hold').isDisabled());
    await page.click('text=Resume sale');
    await page.click('dialog >> text=Resume sale');
    await page.waitForSelector('.topbar .badge >> text=On sale');
    await buyer.waitForSelector('.map-banner', { state: 'detached' });
  });

  test('seats are blocked by dragging over the map, and released', async () => {
    const event = await api().createEvent('House blocks');
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.click('button:has-text("House blocks")');
    const box = await page.locator('.map-surface').boundingBox();
    await page.mouse.move(box.x + box.width * 0.55, box.y + box.height * 0.4);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.65, box.y + box.height * 0.6, { steps: 6 });
    await page.mouse.up();
    await page.waitForFunction(() => /\d+ seats chosen/.test(document.querySelector('.block-bar')?.textContent ?? ''));
    await page.fill('[aria-label=Reason]', 'camera');
    await page.click('.block-bar >> text=/^Block \\d+/');
    await page.click('dialog >> text=Block seats');
    await page.waitForSelector('.block-bar >> text=/seats? blocked/');
    const { body } = await api().call('GET', `/api/v1/events/${event.id}/availability`);
    assert.ok(body.blocked_seats > 0);
  });

  test('a waiting room is turned on and off', async () => {
    const event = await api().createEvent('Room of the console');
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.click('.room >> text=Change');
    await page.click('text=Turn on');
    await page.waitForSelector('.room .badge >> text=On');
    const stats = (await api().call('GET', `/api/v1/events/${event.id}/waiting-room/stats`)).body;
    assert.equal(stats.enabled, true);
    await page.click('.room >> text=Change');
    assert.match(await page.innerText('dialog'), /Turned off, all 0 in line go straight to the map\./);
    await page.click('text=Turn off');
    await page.waitForSelector('.room >> text=Buyers go straight to the map.');
  });

  test('a booking is found by its buyer and by its seat, shown as a timeline with its records, cancelled and refunded', async () => {
    const event = await api().createEvent('One booking');
    const user = `cara-${event.id}`;
    const held = await sell(api(), event.id, [10, 11], user);
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.waitForSelector('.tiles');
    await page.keyboard.press('/');
    await page.keyboard.type(user);
    await page.keyboard.press('Enter');
    await page.waitForSelector(`text=Buyer ${user}, 1 booking`);
    await page.fill('.find input', 'A-10');
    await page.click('.find >> text=Find');
    await page.click('[aria-label=Seats] tr:has-text("Sold") a[data-row]');
    await page.waitForSelector('.steps-list >> text=Confirmed');
    await page.waitForSelector('.small-house canvas');
    const records = await page.innerText('.records');
    assert.match(records, /Redis and archive agree[\s\S]*Confirmed\s+Confirmed\s+paid[\s\S]*€190\.00\s+€190\.00\s+€190\.00/);
    assert.match(await page.innerText('.steps-list'), /Held[\s\S]*Payment began[\s\S]*Attempt 1[\s\S]*Paid[\s\S]*Confirmed/);
    assert.match(await page.innerText('.seats-card'), /2 claims, all its own/);
    await page.click('[role=radio]:has-text("Log")');
    await page.waitForSelector('.ledger >> text=confirm_begin');
    await page.click('[role=radio]:has-text("Steps")');
    await page.click('text=Cancel and refund…');
    assert.match(await page.innerText('dialog'), /Cancel and refund €190\.00\?[\s\S]*A-10, 11 go back on sale/);
    await page.click('dialog button:has-text("Refund €190.00")');
    await page.waitForSelector('.booking-head .badge >> text=Cancelled');
    assert.equal(held.event_id, event.id);
  });

  test('live figures: bookings as they happen, refusals by place and reason, how often seats were held', async () => {
    const event = await api().createEvent('Live figures');
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.waitForSelector('.feed .badge >> text=Live');
    const { id } = (await api().hold(event.id, [10, 11], 'ann')).body;
    await page.waitForSelector('.feed li:has-text("Held"):has-text("Stalls A-10, 11"):has-text("€190.00")');
    assert.equal((await api().hold(event.id, [11], 'bob')).status, 409);
    await page.waitForSelector('.reasons li:has-text("Seat taken")');
    await page.waitForSelector('.health li:has-text("Workers") >> text=/[1-9] reading/');
    assert.match(await page.innerText('.tiles'), /Archive behind\s+[\d.]+ m?s/);
    await api().call('POST', `/api/v1/bookings/${id}/cancel`, {}, { user: 'ann' });
    await page.waitForSelector('.feed li:has-text("Given up")');
    await page.click('[role=radio]:has-text("Demand")');
    await page.waitForSelector('.house-card .head >> text=/holds per seat since \\d\\d:/');
    await page.click('.feed li:has-text("Given up") a');
    await page.waitForSelector('.steps-list >> text=Cancelled');
  });

  test('limits are told to observe, dead letters are listed, and the audit log says who did it', async () => {
    const page = await enter(visitors(), '/console/limits');
    // These tests' server observes all limits, so no rule has a mode of its own.
    const all = page.locator('[aria-label="Mode of all rules"]');
    assert.equal(await all.inputValue(), 'observe');
    assert.ok(await page.locator('tbody select').first().isDisabled());
    await change(page, all, 'off', /Off: all limits\?[\s\S]*Nothing is counted and nothing is refused/, 'Turn off');
    await change(page, all, 'observe', /let through and only counted/, 'Observe only');
    await page.click('.sidebar >> text=Dead letters');
    await page.waitForSelector('text=None. Entries that the archive refuses are kept here');
    await page.click('.sidebar >> text=Audit');
    await page.waitForSelector(`tbody tr:has-text("tests"):has-text("observe")`);
    await page.click('.sidebar >> text=Access lists');
    await page.waitForSelector('.body >> text=/Nobody is on a list|Subject/');
    await page.route(/\/admin\/dead-letters/, (route) => route.fulfill({ json: { total: 0, letters: [], silent_partitions: [3, 7] } }));
    await page.click('.sidebar >> text=Dead letters');
    await page.waitForSelector('text=The Redis of 2 partitions does not answer: letters of 3, 7 are not shown.');
    assert.equal(await page.locator('text=None.').count(), 0);
  });

  test('an event is made from the form, shown live, and edited', async () => {
    const page = await enter(visitors(), '/console/events/new');
    const name = `From the form ${Date.now()}`;
    await page.fill('.event-form label:has-text("Name") input', name);
    await page.waitForSelector('.preview >> text=704 seats');
    await shoot(page, 'console-new-event-1440');
    await page.fill('[aria-label="Section 1"] label:has-text("Price") input', '');
    await page.waitForSelector('text=Stalls: the price is missing; 0 is for free seats');
    assert.ok(await page.isDisabled('text=Create the event'));
    await page.fill('[aria-label="Section 1"] label:has-text("Price") input', '95');
    await page.waitForSelector('.preview >> text=704 seats');
    await page.setInputFiles('input[type=file]', arena);
    await page.waitForSelector('.preview >> text=19,960 seats');
    await shoot(page, 'console-layout-1440');
    await page.click('text=Use fields instead');
    await page.click('text=Create the event');
    await page.waitForFunction((wanted) => document.querySelector('h1')?.textContent === wanted, name);
    await page.click('.sidebar >> text=Events');
    await page.click(`tr:has-text("${name}") >> text=Edit`);
    await page.fill('dialog label:has-text("Venue") input', 'Old Town Hall');
    await page.click('text=Change the event');
    await page.waitForSelector(`tr:has-text("${name}") >> text=Old Town Hall`);
  });

  test('in development a crowd is released from the console: it buys a new event, can be stopped, and is verified', async () => {
    const open = await Api.start({ HOLDFAST_ADMIN_KEYS_SHA256: '' });
    const pages = await servePages(open);
    try {
      const page = await visitors().open('/', {});
      visitors().also(pages.url);
      await page.goto(`${pages.url}/console/events`);
      await page.click('text=Release a crowd');
      assert.match(await page.innerText('dialog'), /Release 300 simulated buyers\?[\s\S]*No money moves/);
      await page.click('dialog >> text=Release the crowd');
      await page.waitForSelector('h1:has-text("A sale to watch")', { state: 'attached' });
      const counts = async () => Object.fromEntries([...(await page.innerText('.crowd-bar')).matchAll(/(\d+) (held|paid|refused|given up)/g)].map(([, count, word]) => [word, Number(count)]));
      await eventually('some hold, pay and are refused', async () => {
        const { held, paid, refused } = await counts();
        return held > 10 && paid > 5 && refused > 2;
      }, CROWD_MS_MAX);
      await page.waitForFunction(() => Number(document.querySelector('.tile:nth-child(3) b')?.textContent) > 5);
      await shoot(page, 'console-crowd-1440');
      await page.click('.crowd-bar >> text=Stop');
      await page.waitForSelector('.crowd-bar >> text=Verified: clean');
      await page.waitForSelector('.crowd-bar >> text=The crowd has gone home');
      await page.click('.crowd-bar >> text=Close');
      await page.waitForSelector('.crowd-bar', { state: 'detached' });
    } finally {
      await visitors().closeAll();
      await pages.stop();
      await open.stop();
    }
  });

  test('the report sums what is sold, and its checks give their verdicts', async () => {
    const event = await api().createEvent('Report');
    await sell(api(), event.id, [1, 2], 'dora');
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.waitForSelector('.tiles');
    await page.click('.sidebar >> text=Report');
    await page.waitForSelector('.report .table-card .head >> text=€190.00');
    assert.match(await page.innerText('.funnel'), /Held\s+1/);
    for (const check of ['Verify', 'Reconcile']) {
      const row = page.locator(`.check-row:has-text("${check}")`);
      await row.locator('button').click();
      await row.locator('.badge >> text=Clean').waitFor();
    }
    assert.match(await page.innerText('.checks'), /1 booking in the archive[\s\S]*1 payment: sold €190\.00, charged €190\.00, refunded €0\.00/);
    const download = page.waitForEvent('download');
    await page.click('text=CSV');
    assert.match((await download).suggestedFilename(), /^sales-\d+\.csv$/);
  });
}

/** Changes the mode of a limit, and reads what the dialog says. */
async function change(page, select, mode, effect, verb) {
  await select.selectOption(mode);
  await page.waitForSelector('dialog');
  assert.match(await page.innerText('dialog'), effect);
  await page.click(`dialog >> text=${verb}`);
  await page.waitForSelector('dialog', { state: 'detached' });
  assert.equal(await select.inputValue(), mode);
}

/** Holds and pays; returns once the archive has the sale. */
async function sell(api, event, seats, user) {
  const held = (await api.hold(event, seats, user)).body;
  await eventually('it is sold', async () => (await api.call('POST', `/api/v1/bookings/${held.id}/confirm`, { payment_method: 'card_ok' }, { user })).status === 200);
  await eventually('it is in the archive', async () => (await api.call('GET', '/api/v1/bookings', undefined, { user })).body.bookings.some((one) => one.id === held.id && one.status === 'CONFIRMED'));
  return held;
}
