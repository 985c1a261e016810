// The buyer's page, against a real server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choose, shoot } from './browser.mjs';
import { eventually } from './server.mjs';

const text = (page, selector) => page.locator(selector).first().innerText();

/** What the countdown shows, seconds. */
async function secondsLeft(page) {
  const [minutes, seconds] = (await text(page, '.countdown')).split(':').map(Number);
  return minutes * 60 + seconds;
}

/** Holds the chosen seats and waits for the countdown. */
async function holdAndWait(page) {
  await page.click('#hold');
  await page.waitForSelector('.countdown');
}

async function payWith(page, card) {
  await page.click('#pay');
  await page.click(`text=${card}`);
  await page.click('dialog button[type=submit]');
}

export function buyerTests({ api, visitors }) {
  test('two browsers, one seat: one holds it, the other is offered two alternatives and takes one', async () => {
    const event = await api().createEvent('Two browsers');
    const [ann, bob] = [await visitors().open(`/events/${event.id}`, { user: 'ann' }), await visitors().open(`/events/${event.id}`, { user: 'bob' })];
    for (const page of [ann, bob]) {
      await choose(page, 'Stalls, row C, seat 10');
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('Space');
      await page.waitForFunction(() => document.querySelectorAll('.pick').length === 2);
    }
    // Bob's page does not hear of Ann's hold before it asks for the same seats.
    await bob.route(/\/bookings\?alternatives/, async (route) => {
      await holdAndWait(ann);
      await route.continue();
    }, { times: 1 });
    await bob.click('#hold');
    await bob.waitForSelector('.toast .alternative:nth-of-type(2)');
    assert.match(await text(bob, '.toast h2'), /C-10, C-11 were taken a moment ago/);
    assert.match(await text(bob, '.toast'), /Nothing is held yet\. Two seats together, nearest to your choice/);
    assert.equal(await bob.locator('.pick.is-taken').count(), 2);
    assert.ok(await bob.evaluate(() => document.activeElement?.classList.contains('alternative')), 'the focus is on the first alternative');
    await shoot(bob, 'conflict-1440');
    await bob.keyboard.press('1');
    await bob.waitForSelector('.countdown');
    assert.equal(await api().seatState(event.id, 58), 'HOLD');
    const held = (await api().call('GET', `/api/v1/events/${event.id}/availability`)).body;
    assert.equal(held.held_seats, 4);
  });

  test('a seat that someone takes while it is chosen is marked, and only the others are held', async () => {
    const event = await api().createEvent('Taken meanwhile');
    const page = await visitors().open(`/events/${event.id}`, { user: 'ann' });
    await choose(page, 'Stalls, row A, seat 3');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Space');
    assert.equal((await api().hold(event.id, [4], 'thief')).status, 201);
    await page.waitForSelector('.pick.is-taken');
    assert.match(await text(page, '#hold'), /Hold 1 seat/);
    await holdAndWait(page);
    assert.match(await text(page, '.held-seats'), /Stalls, row A\s+3/);
  });

  test('a hold that is not paid ends at its time, and the seat returns on every page', async () => {
    const event = await api().createEvent('Countdown', { hold_ttl_seconds: 6, max_hold_seconds: 60 });
    const [ann, bob] = [await visitors().open(`/events/${event.id}`, { user: 'ann' }), await visitors().open(`/events/${event.id}`, { user: 'bob' })];
    await choose(ann, 'Stalls, row B, seat 5');
    await holdAndWait(ann);
    await bob.waitForFunction(() => document.querySelector('.sections')?.textContent?.includes('1 held, may come back'));
    await ann.waitForFunction(() => document.querySelector('.panel')?.textContent?.includes('Your hold has ended.'));
    assert.match(await text(ann, '.panel'), /Nothing was charged/);
    await bob.waitForFunction(() => !document.querySelector('.sections')?.textContent?.includes('held, may come back'));
    assert.equal(await api().seatState(event.id, 29), 'AVAILABLE');
    await ann.click('text=Choose again');
    await ann.waitForSelector('#hold');
  });

  test('payment: declined, then paid; the receipt and the booking survive a reload; cancelled and refunded', async () => {
    const event = await api().createEvent('Payment');
    const page = await visitors().open(`/events/${event.id}`, { user: 'ann' });
    await choose(page, 'Circle, row A, seat 14').catch(async () => {
      await page.keyboard.press('PageDown');
      await choose(page, 'Circle, row A, seat 14');
    });
    await holdAndWait(page);
    const before = await secondsLeft(page);
    await page.reload();
    await page.waitForSelector('.countdown');
    const later = await secondsLeft(page);
    assert.ok(later <= before, `the countdown goes on after a reload: ${before} s, then ${later} s`);
    await eventually('the countdown goes down', async () => (await secondsLeft(page)) < later);
    await page.click('text=Add time');
    await page.waitForFunction(() => /^(5:00|4:5\d)$/.test(document.querySelector('.countdown')?.textContent ?? ''));
    await payWith(page, 'A card that is declined');
    await page.waitForSelector('dialog .note.bad');
    assert.match(await text(page, 'dialog .note.bad'), /The payment was declined\. Your seats are held for \d:\d\d\. Try another card\./);
    await shoot(page, 'declined-1440');
    await page.click('text=A card that is accepted');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('#receipt');
    assert.match(await text(page, '#receipt'), /These seats are yours\.[\s\S]*€65\.00/);
    await shoot(page, 'receipt-1440');
    await eventually('the archive has the sale', async () => (await api().call('GET', '/api/v1/bookings', undefined, { user: 'ann' })).body.bookings.some((one) => one.event_id === event.id && one.status === 'CONFIRMED'));
    await page.reload();
    await page.click('[aria-label="Your bookings"] >> text=Show');
    await page.waitForSelector('#receipt');
    await page.click('text=Cancel and refund…');
    assert.match(await text(page, 'dialog'), /Cancel and refund €65\.00\?[\s\S]*A-14 goes back on sale/);
    // Where the archive does not answer, the dialog says so, and the button may be pressed again.
    await eventually('the booking is cancelled', async () => {
      if ((await page.innerText('.panel')).includes('This booking is cancelled.')) return true;
      const button = page.locator('dialog button:has-text("Refund €65.00"):not(:disabled)');
      if (await button.count()) await button.click({ timeout: 2000 }).catch(() => undefined);
      return false;
    });
    await eventually('the seat is on sale again', async () => (await api().seatState(event.id, 192 + 14)) === 'AVAILABLE');
  });

  test('a server that is overloaded right after a reload: the page asks until it knows the hold and the sold seats', async () => {
    const event = await api().createEvent('Overload');
    const sold = (await api().hold(event.id, [1], 'eve')).body;
    await eventually('it is sold', async () => (await api().call('POST', `/api/v1/bookings/${sold.id}/confirm`, { payment_method: 'card_ok' }, { user: 'eve' })).status === 200);
    await eventually('it is archived', async () => (await api().call('GET', '/api/v1/bookings', undefined, { user: 'eve' })).body.bookings.some((one) => one.status === 'CONFIRMED'));
    const page = await visitors().open(`/events/${event.id}`, { user: 'eve' });
    await page.waitForSelector('[aria-label="Your bookings"]');
    await choose(page, 'Stalls, row B, seat 7');
    await holdAndWait(page);
    const refuse = (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', headers: { 'retry-after': '1' }, body: JSON.stringify({ type: 'x', title: 'Busy', status: 503, detail: 'Busy', error: 'overloaded', trace_id: 'x' }) });
    await page.route(/\/api\/v1\/bookings[/?]/, refuse, { times: 3 });
    await page.reload();
    await page.waitForSelector('text=Checking whether your seats are held.');
    await page.waitForSelector('.countdown');
    await page.click('text=Give up seats');
    await page.click('dialog >> text=Give up seats');
    await page.waitForSelector('[aria-label="Your bookings"]');
  });

  test('best available: three seats together are found; too many are refused with a next step', async () => {
    const event = await api().createEvent('Best available', { sections: [{ name: 'Bench', price: 1000, rows: [{ row: 'A', seats: 4 }] }] });
    const page = await visitors().open(`/events/${event.id}`, { user: 'ann' });
    await page.click('[role=radio]:has-text("Best available")');
    await page.click('[aria-label="How many seats"] >> [aria-label="More"]');
    await page.click('#hold');
    await page.waitForSelector('.countdown');
    assert.match(await text(page, '.held-seats'), /Bench, row A\s+1\s+2\s+3/);
    const other = await visitors().open(`/events/${event.id}`, { user: 'bob' });
    await other.click('[role=radio]:has-text("Best available")');
    await other.click('#hold');
    await other.waitForSelector('.toast');
    assert.match(await text(other, '.toast'), /Fewer than 2 seats are free for that[\s\S]*Nothing is held/);
  });

  test('general admission: places of a section are held by number', async () => {
    const event = await api().createEvent('Standing', { sections: [{ name: 'Floor', price: 2500, capacity: 300 }, { name: 'Balcony', price: 4000, rows: [{ row: 'A', seats: 15 }, { row: 'B', seats: 15 }] }] });
    const page = await visitors().open(`/events/${event.id}`, { user: 'ann' });
    const more = page.locator('[aria-label="Places in Floor"] [aria-label="More"]');
    await more.click();
    await more.click();
    assert.match(await text(page, '#hold'), /Hold 2 places/);
    await shoot(page, 'general-1440');
    await holdAndWait(page);
    assert.match(await text(page, '.held .amount'), /€50\.00/);
    await page.click('text=Give up seats');
    await page.click('dialog >> text=Give up seats');
    await page.waitForSelector('#hold');
  });

  test('waiting room: a place in line, then in by itself, then a hold; a reload keeps the place', async () => {
    const event = await api().createEvent('Waiting room');
    await api().admin('POST', `/api/v1/events/${event.id}/waiting-room/enable`, { max_concurrent: 1, session_duration: 120 });
    const first = await eventually('the first is let in', async () => {
      const joined = await api().call('POST', `/api/v1/events/${event.id}/waiting-room/join`, {}, { user: 'first' });
      return joined.body.status === 'admitted' && joined.body;
    });
    const page = await visitors().open(`/events/${event.id}`, { user: 'ann', size: { width: 390, height: 844 } });
    await page.waitForSelector('.place');
    assert.match(await text(page, '.waiting'), /Your place in line[\s\S]*Keep this page open: it lets you in by itself/);
    await shoot(page, 'waiting-390');
    await page.reload();
    await page.waitForSelector('.place');
    assert.equal(await text(page, '.place'), '1');
    await page.click('text=Leave the line');
    await page.click('dialog >> text=Keep my place');
    const left = await api().call('POST', `/api/v1/events/${event.id}/waiting-room/leave`, { token: first.token });
    assert.equal(left.status, 200);
    await page.waitForFunction(() => document.querySelector('.panel')?.textContent?.includes('It is your turn.'));
    await shoot(page, 'turn-390');
    await page.click('[role=radio]:has-text("Best available")');
    await page.click('#hold');
    await page.waitForSelector('.countdown');
  });

  test('an API that restarts under an open page: it says so, resumes, keeps the hold and hears what changed', async () => {
    const event = await api().createEvent('Restart');
    const page = await visitors().open(`/events/${event.id}`, { user: 'ann' });
    await choose(page, 'Stalls, row D, seat 7');
    await holdAndWait(page);
    await api().stop();
    await page.waitForSelector('text=Connection lost. The map may be out of date. Reconnecting…');
    await shoot(page, 'offline-1440');
    await api().launch();
    await page.waitForSelector('.map-banner', { state: 'detached' });
    assert.equal((await api().hold(event.id, [1, 2], 'bob')).status, 201);
    await page.waitForFunction(() => document.querySelector('.status')?.textContent?.includes('357'));
    await page.waitForSelector('.countdown');
    await payWith(page, 'A card whose answer comes late');
    await page.waitForSelector('#receipt');
  });

  test('sold out, not yet on sale, closed: each is said', async () => {
    const sections = [{ name: 'Bench', price: 1000, rows: [{ row: 'A', seats: 2 }] }];
    const full = await api().createEvent('Full', { sections });
    const held = (await api().hold(full.id, [1, 2], 'bob')).body;
    const page = await visitors().open(`/events/${full.id}`, { user: 'ann' });
    await page.waitForSelector('text=No seat is free. 2 held seats may come back.');
    await eventually('it is sold', async () => (await api().call('POST', `/api/v1/bookings/${held.id}/confirm`, { payment_method: 'card_ok' }, { user: 'bob' })).status === 200);
    await page.waitForSelector('.map-banner >> text=Sold out.');
    const soon = await api().createEvent('Soon', { sections, on_sale_at: new Date(Date.now() + 3 * 3600e3).toISOString() });
    const early = await visitors().open(`/events/${soon.id}`, { user: 'ann' });
    await early.waitForSelector('text=/On sale .* in 2:59/');
    assert.ok(await early.locator('#hold').isDisabled());
    await api().admin('PATCH', `/api/v1/events/${soon.id}`, { status: 'CLOSED' });
    await early.waitForSelector('text=The sale has ended.');
    const nowhere = await visitors().open('/events/999999', { user: 'ann' });
    await nowhere.waitForSelector('text=There is no such event.');
  });

  test('without a WebSocket the page follows by the event stream, and without both by polling', async () => {
    const event = await api().createEvent('Fallbacks');
    for (const [blocked, proof] of [[[/\/ws\//], /\/stream\?/], [[/\/ws\//, /\/stream\?/], /\/events\/\d+\/seats$/]]) {
      const page = await visitors().open('/', { user: 'ann', allowed: [/EventSource/, /event-stream/] });
      await page.routeWebSocket(/\/ws\//, (socket) => socket.close());
      if (blocked.length > 1) await page.route(/\/stream\?/, (route) => route.abort());
      const followed = page.waitForRequest(proof);
      await page.goto(`${visitors().url}/events/${event.id}`);
      await followed;
      await page.waitForSelector('.status >> text=Live');
      const seat = blocked.length;
      assert.equal((await api().hold(event.id, [seat], `bob-${seat}`)).status, 201);
      await page.waitForFunction((count) => document.querySelector('.sections')?.textContent?.includes(`${count} held, may come back`), seat);
    }
  });
}
