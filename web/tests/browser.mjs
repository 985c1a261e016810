// Chromium, and pages whose console is watched.
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const folder = join(dirname(fileURLToPath(import.meta.url)), 'artefacts');
const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
/** For one condition of a page: long for a person, short for a suite; pages hear of changes within a second. */
const WAIT_MS = 30_000;

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** Debian's, the one that CHROMIUM names, or one that `npx playwright-core install chromium-headless-shell` has fetched. */
export function findChromium() {
  const paths = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', chromium.executablePath(), ...headlessShells()];
  return paths.find((path) => path && existsSync(path));
}

function headlessShells() {
  const cache = process.env.PLAYWRIGHT_BROWSERS_PATH ?? join(homedir(), '.cache', 'ms-playwright');
  if (!existsSync(cache)) return [];
  return readdirSync(cache, { recursive: true })
    .filter((path) => /^chromium_headless_shell-.*(chrome-headless-shell|headless_shell)$/.test(path))
    .map((path) => join(cache, path));
}

export async function launch(executablePath) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  return chromium.launch({ executablePath, args: FLAGS });
}

/** Messages of the console that are no defects: the browser logs each answer that is an error by itself. */
const isAnswer = (text) => /^Failed to load resource: /.test(text) || /WebSocket connection to .* failed/.test(text);

export class Visitors {
  constructor(browser, url) {
    this.browser = browser;
    this.url = url;
    this.troubles = [];
    this.contexts = [];
    this.urls = [url];
  }

  /** Pages may come from this server, too. */
  also(url) {
    this.urls.push(url);
  }

  /** Opens a page as a buyer of this name. */
  async open(path, { user = 'ann', size = DESKTOP, dark = false, allowed = [] } = {}) {
    const isPhone = size.width < 600;
    const context = await this.browser.newContext({ viewport: size, colorScheme: dark ? 'dark' : 'light', locale: 'en-GB', timezoneId: 'Europe/Berlin', isMobile: isPhone, hasTouch: isPhone, reducedMotion: 'reduce' });
    this.contexts.push(context);
    await context.addInitScript((name) => localStorage.setItem('holdfast.user', name), user);
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on('pageerror', (error) => this.troubles.push(`${path}: ${error.stack}`));
    page.on('console', (message) => {
      const text = message.text();
      if (message.type() === 'error' && !isAnswer(text) && !allowed.some((one) => one.test(text))) this.troubles.push(`${path}: ${text}`);
    });
    page.on('request', (request) => {
      if (!this.urls.some((url) => request.url().startsWith(url)) && !/^(data|blob|ws):/.test(request.url())) this.troubles.push(`${path}: asks another site: ${request.url()}`);
    });
    await page.goto(this.url + path);
    return page;
  }

  async closeAll() {
    for (const context of this.contexts.splice(0)) await context.close();
  }
}

export async function shoot(page, name) {
  await page.screenshot({ path: join(folder, `${name}.png`), animations: 'disabled' });
}

/** Serious findings of axe, in words. */
export async function axeFindings(page) {
  // As a content script would: the page's policy does not allow it as a script of the page.
  await page.evaluate(await readFile(axePath, 'utf8'));
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations
    .filter((violation) => ['serious', 'critical'].includes(violation.impact))
    .map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => `${node.target.join(' ')} (${node.any[0]?.message ?? node.all[0]?.message ?? node.none[0]?.message ?? ''})`).join('; ')}`);
}

/** Chooses a seat of the map by the keys: moves the cursor there, then Space. */
export async function choose(page, label) {
  await page.waitForFunction(() => document.querySelector('[role=gridcell][tabindex="0"]')?.getAttribute('aria-label')?.includes('row '));
  await page.evaluate(() => document.querySelector('[role=gridcell][tabindex="0"]').focus());
  await page.keyboard.press('Home');
  for (let i = 0; i < 80; i++) {
    const at = await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? '');
    if (at.startsWith(`${label},`)) {
      await page.keyboard.press('Space');
      return;
    }
    const [, row = '', seat = ''] = /row (\w+), seat (\d+)/.exec(at) ?? [];
    const [, toRow = '', toSeat = ''] = /row (\w+), seat (\d+)/.exec(label) ?? [];
    if (row !== toRow) await page.keyboard.press(row < toRow ? 'ArrowDown' : 'ArrowUp');
    else await page.keyboard.press(Number(seat) < Number(toSeat) ? 'ArrowRight' : 'ArrowLeft');
  }
  throw new Error(`the cursor does not reach ${label}`);
}
