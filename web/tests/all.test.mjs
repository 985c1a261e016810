// The pages in Chromium against a real API. `npm test` inside `deploy/run.py --exec` (see README.md).
import assert from 'node:assert/strict';
import { after, afterEach, before, describe } from 'node:test';
import { launch, Visitors } from './browser.mjs';
import { buyerTests } from './buyer.mjs';
import { consoleTests } from './console.mjs';
import { lookTests } from './looks.mjs';
import { measureTests } from './measure.mjs';
import { Api, servePages } from './server.mjs';

describe('pages', { timeout: 1_800_000 }, () => {
  let api;
  let pages;
  let browser;
  let visitors;
  const all = { api: () => api, visitors: () => visitors };

  before(async () => {
    api = await Api.start();
    pages = await servePages(api);
    browser = await launch();
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
  consoleTests(all);
  lookTests(all);
  measureTests(all);
});
