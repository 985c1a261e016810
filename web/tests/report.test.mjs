// Reports of load tests in Chromium: what axe says, and whether they fit, at phone and desktop width, light and dark.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { axeFindings, findChromium, shoot } from './browser.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const fixture = (name) => join(root, 'bench/report/tests/fixtures', name);
const run = fixture('rich.json');
const PAGES = {
  report: ['run', run],
  compare: ['compare', run, run],
  strategies: ['strategies', fixture('strategies.json')],
};
const WIDTHS = [390, 1280];
const SUITE_MS_MAX = 120_000;
const executablePath = findChromium();
const skip = executablePath ? false : 'no Chromium: apt-get install chromium, or name one in CHROMIUM';

/** The program that was built last. */
function program() {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const built = ['debug', 'release']
    .map((profile) => join(target, profile, 'holdfast-bench-report'))
    .map((path) => ({ path, builtMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((one, other) => other.builtMs - one.builtMs)[0];
  assert.ok(built.builtMs > 0, 'holdfast-bench-report is not built: cargo build --workspace');
  return built.path;
}

describe('reports of load tests', { timeout: SUITE_MS_MAX, skip }, () => {
  let browser;
  let folder;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-reports-'));
    for (const [name, words] of Object.entries(PAGES)) execFileSync(program(), [...words, '--html', join(folder, `${name}.html`)]);
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  });
  after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const name of Object.keys(PAGES)) {
    for (const width of WIDTHS) {
      for (const colorScheme of ['light', 'dark']) {
        test(`${name} at ${width} pixels, ${colorScheme}`, async () => {
          const findings = [];
          const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, isMobile: width < 600 });
          const page = await context.newPage();
          page.on('console', (message) => findings.push(`console: ${message.text()}`));
          page.on('request', (request) => request.url().startsWith('file:') || findings.push(`asks ${request.url()}`));
          await page.goto(pathToFileURL(join(folder, `${name}.html`)).href);
          findings.push(...(await axeFindings(page)));
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          if (wide > width) findings.push(`${wide} pixels wide on ${width}`);
          const cut = await page.evaluate(() => [...document.querySelectorAll('details')].filter((one) => { one.open = true; return document.documentElement.scrollWidth > window.innerWidth; }).length);
          if (cut) findings.push(`${cut} open tables are wider than the page`);
          await shoot(page, `${name}-${width}-${colorScheme}`);
          await context.close();
          assert.deepEqual(findings, []);
        });
      }
    }
  }
});
