// The pages in Chromium against a real API. `npm test` inside `deploy/run.py --exec` (see README.md).
import assert from 'node:assert/strict';
import { after, afterEach, before, describe } from 'node:test';
import { findChromium, launch, Visitors } from './browser.mjs';
import { buyerTests } from './buyer.mjs';
import { consoleTests } from './console.mjs';
import { holdTests } from './holds.mjs';
import { lookTests } from './looks.mjs';
import { measureTests } from './measure.mjs';
import { Api, servePages } from './server.mjs';
import { signedTests } from './signed.mjs';

const SUITE_MS_MAX = 600_000;
const chromium = findChromium();
const skip = chromium ? false : 'no Chromium: apt-get install chromium, or name one in CHROMIUM';
if (skip) console.error(`\n  THE PAGES ARE NOT TESTED, ${skip}\n`);

describe('pages', { timeout: SUITE_MS_MAX, skip }, () => {
  let api;
  let pages;
  let browser;
  let visitors;
  const all = { api: () => api, visitors: () => visitors };

  before(async () => {
    api = await Api.start();
    pages = await servePages(api);
    browser = await launch(chromium);
    visitors = new Visitors(browser, pages.url);
  });
  after(async () => {
    await browser?.close();
    await pages?.stop();
    await api?.stop();
  });
  afterEach(async () => {
    await visitors.closeAll();
    const troubles = visitors.troubles.splice(0);
    assert.deepEqual(troubles, [], 'errors of the console');
  });

  buyerTests(all);
  holdTests(all);
  signedTests(all);
  consoleTests(all);
  lookTests(all);
  measureTests(all);
});
