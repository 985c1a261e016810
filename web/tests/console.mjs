// The operator's console, against a real server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { shoot } from './browser.mjs';
import { ADMIN_KEY, eventually } from './server.mjs';

const arena = fileURLToPath(new URL('../../examples/layouts/arena.json', import.meta.url));

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
    await page.click('text=Turn off');
    await page.waitForSelector('.room >> text=Buyers go straight to the map.');
  });

  test('a booking is found by its buyer, shown as a timeline, cancelled and refunded', async () => {
    const event = await api().createEvent('One booking');
    const user = `cara-${event.id}`;
    const held = (await api().hold(event.id, [10, 11], user)).body;
    await eventually('it is sold', async () => (await api().call('POST', `/api/v1/bookings/${held.id}/confirm`, { payment_method: 'card_ok' }, { user })).status === 200);
    const page = await enter(visitors());
    await eventually('it is in the archive', async () => (await api().call('GET', '/api/v1/bookings', undefined, { user })).body.bookings.some((one) => one.status === 'CONFIRMED'));
    await page.keyboard.press('/');
    await page.keyboard.type(user);
    await page.keyboard.press('Enter');
    await page.click('tbody a');
    await page.waitForSelector('.steps-list >> text=Confirmed');
    await page.waitForSelector('.small-house canvas');
    await shoot(page, 'console-booking-1440');
    await page.click('text=Cancel and refund…');
    await page.click('dialog button:has-text("Refund €190.00")');
    await page.waitForSelector('.booking-head .badge >> text=Cancelled');
  });

  test('an event is made from the form, shown live, and edited', async () => {
    const page = await enter(visitors(), '/console/events/new');
    const name = `From the form ${Date.now()}`;
    await page.fill('.event-form label:has-text("Name") input', name);
    await page.waitForSelector('.preview >> text=704 seats');
    await shoot(page, 'console-new-event-1440');
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

  test('the report sums what is sold', async () => {
    const event = await api().createEvent('Report');
    const held = (await api().hold(event.id, [1, 2], 'dora')).body;
    await eventually('it is sold', async () => (await api().call('POST', `/api/v1/bookings/${held.id}/confirm`, { payment_method: 'card_ok' }, { user: 'dora' })).status === 200);
    const page = await enter(visitors(), `/console/live/${event.id}`);
    await page.waitForSelector('.tiles');
    await page.click('.sidebar >> text=Report');
    await page.waitForSelector('.report .table-card .head >> text=€190.00');
    await page.waitForFunction(() => document.querySelector('.funnel b')?.textContent !== '–');
    await shoot(page, 'console-report-1440');
  });
}
