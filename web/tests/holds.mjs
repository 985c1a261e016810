// What a buyer sees of a hold or payment whose answer is lost, of what does not agree, and where the focus goes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choose } from './browser.mjs';
import { Api, eventually, servePages } from './server.mjs';

const HOLD = /\/api\/v1\/bookings\?alternatives/;
const PAY = /\/bookings\/[^/]+\/confirm$/;
const UNKNOWN_PAYMENT = 'text=We do not know yet whether this payment went through. Do not pay again.';

const focused = (page, text) => page.waitForFunction((text) => document.activeElement?.textContent === text, text);
const focusOnMap = (page) => page.evaluate(() => document.querySelector('[role=gridcell][tabindex="0"]').focus());

/** The request arrives, its answer does not. */
async function loseAnswer(route) {
  await route.fetch();
  await route.abort();
}

async function payWithGoodCard(page) {
  await page.click('#pay');
  await page.click('dialog button[type=submit]');
}

export function holdTests({ api, visitors }) {
  const open = async (name, settings) => {
    const event = await api().createEvent(name, settings);
    return { event, page: await visitors().open(`/events/${event.id}`, { user: 'ann' }) };
  };

  test('Enter on the map holds once; what becomes of the seats takes the focus and is spoken', async () => {
    const { page } = await open('Held once');
    const sent = [];
    page.on('request', (request) => HOLD.test(request.url()) && sent.push(request.url()));
    await choose(page, 'Stalls, row A, seat 2');
    await page.keyboard.press('Enter');
    await focused(page, 'Held for you');
    await page.waitForSelector('[role=alert]:text-is("Held for you, 5 minutes.")', { state: 'attached' });
    await focusOnMap(page);
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await payWithGoodCard(page);
    await focused(page, 'These seats are yours.');
    await page.waitForSelector('[role=alert]:text-is("These seats are yours.")', { state: 'attached' });
    assert.equal(sent.length, 1);
    await page.click('text=Choose more seats');
    await page.waitForSelector('#hold');
  });

  test('a seat chosen on the map while the best are looked for is the one that the button holds', async () => {
    const { page } = await open('Mode');
    await page.click('[role=radio]:has-text("Best available")');
    await page.waitForSelector('#hold:has-text("Find and hold 2 seats")');
    await choose(page, 'Stalls, row A, seat 5');
    await page.waitForSelector('#hold:has-text("Hold 1 seat")');
    assert.equal(await page.getAttribute('[role=radio]:has-text("Choose on the map")', 'aria-checked'), 'true');
    await page.click('#hold');
    await page.waitForFunction(() => /row A\s*5$/.test(document.querySelector('.held-seats')?.textContent ?? ''));
  });

  test('a press on a cell of the grid, as screen readers do, chooses its seat; a closed offer gives the focus back to the map', async () => {
    const { event, page } = await open('Presses');
    await page.waitForFunction(() => document.querySelector('[role=gridcell][aria-label*="row A, seat 4,"]'));
    await page.evaluate(() => document.querySelector('[role=gridcell][aria-label*="row A, seat 4,"]').click());
    await page.waitForSelector('.pick:has-text("A-4")');
    // The page does not hear of the other hold before it asks for the same seat.
    await page.route(HOLD, async (route) => {
      assert.equal((await api().hold(event.id, [4], 'thief')).status, 201);
      await route.continue();
    }, { times: 1 });
    await page.click('#hold');
    await page.waitForFunction(() => document.activeElement?.classList.contains('alternative'));
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.activeElement?.getAttribute('role') === 'gridcell');
  });

  test('a hold without an answer is asked for over a reload under the same key, and no notice of it is left', async () => {
    const { event, page } = await open('Unknown hold');
    const keys = new Set();
    let isDown = true;
    await page.route(HOLD, async (route) => {
      keys.add(route.request().headers()['idempotency-key']);
      return isDown ? loseAnswer(route) : route.continue();
    });
    await choose(page, 'Stalls, row C, seat 3');
    await page.click('#hold');
    await page.waitForSelector('text=Checking whether your seats are held.');
    await page.reload();
    await page.waitForSelector('text=Checking whether your seats are held.');
    isDown = false;
    await focused(page, 'Held for you');
    assert.equal(await page.locator('.panel .note').count(), 0);
    assert.equal(keys.size, 1);
    assert.equal((await api().call('GET', `/api/v1/events/${event.id}/availability`)).body.held_seats, 1);
  });

  test('a payment without an answer: the page says that it does not know, asks, and shows the receipt', async () => {
    const { page } = await open('Unknown payment');
    await choose(page, 'Stalls, row D, seat 3');
    await page.click('#hold');
    await page.waitForSelector('.countdown');
    await page.route(PAY, (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', headers: { 'retry-after': '1' }, body: JSON.stringify({ type: 'x', title: 'Not available', status: 503, detail: 'x', error: 'service_unavailable', trace_id: 'x' }) }), { times: 1 });
    await payWithGoodCard(page);
    await page.waitForSelector('dialog >> text=Not available right now. Nothing was charged.');
    let isDown = true;
    await page.route(/\/api\/v1\/bookings\/[^/]+$/, (route) => (isDown ? route.abort() : route.continue()));
    await page.route(PAY, loseAnswer, { times: 1 });
    await page.click('dialog button[type=submit]');
    await page.waitForSelector(UNKNOWN_PAYMENT);
    assert.equal(await page.locator('text=Nothing was charged.').count(), 0);
    await page.keyboard.press('Escape');
    await page.waitForSelector(`.held >> ${UNKNOWN_PAYMENT}`);
    isDown = false;
    await focused(page, 'These seats are yours.');
    assert.equal(await page.locator('#receipt .note').count(), 0);
  });

  test('a payment that has not arrived goes on after a reload, under the same key', async () => {
    const { page } = await open('Payment over a reload');
    await choose(page, 'Stalls, row E, seat 3');
    await page.click('#hold');
    await page.waitForSelector('.countdown');
    const keys = new Set();
    let isDown = true;
    await page.route(PAY, (route) => {
      keys.add(route.request().headers()['idempotency-key']);
      return isDown ? route.abort() : route.continue();
    });
    await payWithGoodCard(page);
    await page.waitForSelector(UNKNOWN_PAYMENT);
    await page.reload();
    await page.waitForSelector(`.held >> ${UNKNOWN_PAYMENT}`);
    isDown = false;
    await focused(page, 'These seats are yours.');
    assert.equal(keys.size, 1);
  });

  test('an event whose operator publishes no counts has words instead', async () => {
    const own = await Api.start({ HOLDFAST_PUBLIC_AVAILABILITY: 'coarse' });
    const pages = await servePages(own);
    try {
      const event = await own.createEvent('Coarse', { sections: [{ name: 'Bench', price: 1000, rows: [{ row: 'A', seats: 10 }] }] });
      visitors().also(pages.url);
      const page = await visitors().open('/', {});
      await page.goto(`${pages.url}/events/${event.id}`);
      await page.waitForSelector('.section:has-text("Available")');
      assert.doesNotMatch(await page.innerText('.status'), /\d/);
      assert.equal((await own.hold(event.id, [1, 2, 3, 4, 5, 6, 7, 8, 9], 'bob')).status, 201);
      await page.waitForSelector('.section:has-text("Few left")');
      await eventually('the last seat is held', async () => (await own.hold(event.id, [10], 'eve')).status === 201);
      await page.waitForSelector('text=No seat is free. Held seats may come back.');
      assert.doesNotMatch(await page.innerText('.section'), /held|free/);
    } finally {
      await visitors().closeAll();
      await pages.stop();
      await own.stop();
    }
  });
}
