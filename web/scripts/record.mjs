// Makes docs/images anew: a buyer's page and the console during a sale of `make demo`, and a film of both.
// Needs Chromium, and ImageMagick with WebP (`convert`). At the root of the repository:
//
//   python3 deploy/run.py --state .holdfast/record --exec sh -c 'cd web && node scripts/record.mjs ../.holdfast/record'
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { choose, findChromium } from '../tests/browser.mjs';
import { servePages } from '../tests/server.mjs';
import { chromium } from 'playwright-core';

const BUYERS = 450;
const COUNTDOWN_SECONDS = 8;
const SIZE = { width: 1280, height: 800 };
const FILM_WIDTH = 880;
const FRAMES = 100;
const FRAME_MS = 200;
/** The first so many show the buyer's page, the others the console. */
const FRAMES_OF_BUYER = 40;
const SHOT_EVERY_MS = 400;
/** Then the seats have found their buyers; what is left of the sale is waiting for holds to end. */
const FILMED_MS_MAX = 80_000;
const PAYS_AFTER_MS = 6000;
const FILM_BYTES_MAX = 1_500_000;
const QUALITIES = [60, 45, 32, 22];

const state = process.argv[2];
const api = process.env.API_URL;
if (!state || !api) throw new Error('Run this by deploy/run.py --exec, with its state folder: see the head of this file');
const images = resolve('../docs/images');
const pages = await servePages({ url: api });

/** Starts the crowd; returns its event once it is known. */
async function startSale() {
  const args = ['../deploy/demo.py', '--state', state, '--buyers', String(BUYERS), '--countdown', String(COUNTDOWN_SECONDS)];
  const crowd = spawn('python3', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(crowd, 'exit');
  let said = '';
  const event = await new Promise((found, failed) => {
    const read = (data) => {
      said += data;
      const match = /seats of event (\d+)/.exec(said);
      if (match) found(Number(match[1]));
    };
    crowd.stdout.on('data', read);
    crowd.stderr.on('data', read);
    crowd.on('exit', () => failed(new Error(`The sale did not begin: ${said}`)));
  });
  return { event, ended, words: () => said };
}

async function open(browser, path, colorScheme) {
  const context = await browser.newContext({ viewport: SIZE, colorScheme, locale: 'en-GB' });
  await context.addInitScript(() => localStorage.setItem('holdfast.user', 'ann'));
  const page = await context.newPage();
  await page.goto(pages.url + path);
  return page;
}

/** Chooses two seats in the middle, holds and pays them. */
async function buy(page) {
  try {
    await choose(page, 'Stalls, row F, seat 12');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Space');
    await page.click('#hold');
    await page.waitForSelector('.countdown');
    await page.evaluate(() => document.activeElement?.blur());
    // The keys have brought the seats close by: back to the whole house.
    await page.keyboard.press('0');
    await page.waitForTimeout(PAYS_AFTER_MS);
    await page.click('#pay');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('#receipt');
  } catch (error) {
    console.error('The buyer on the picture got no seats:', error.message);
  }
}

async function film(browser, folder) {
  const sale = await startSale();
  const [buyer, desk] = [await open(browser, `/events/${sale.event}`, 'light'), await open(browser, `/console/live/${sale.event}`, 'dark')];
  await desk.waitForSelector('.house-box canvas');
  await buyer.waitForSelector('.map-surface canvas');
  let isOver = false;
  void sale.ended.then(() => (isOver = true));
  const bought = buy(buyer);
  const shots = [];
  for (const until = Date.now() + FILMED_MS_MAX; !isOver && Date.now() < until; ) {
    const began = Date.now();
    const name = String(shots.length).padStart(4, '0');
    await buyer.screenshot({ path: join(folder, `buyer-${name}.png`) });
    await desk.screenshot({ path: join(folder, `console-${name}.png`) });
    shots.push(name);
    await new Promise((next) => setTimeout(next, Math.max(0, SHOT_EVERY_MS - (Date.now() - began))));
  }
  await Promise.all([bought, sale.ended]);
  console.log(sale.words().trim().split('\n').slice(-12).join('\n'));
  return shots;
}

/** So many of a list, evenly spread. */
const spread = (list, count) => Array.from({ length: count }, (_, i) => list[Math.floor((i * list.length) / count)]);

function convert(args) {
  const { status, stderr } = spawnSync('convert', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`convert: ${stderr}`);
}

async function encode(folder, shots) {
  await mkdir(images, { recursive: true });
  const split = Math.floor(shots.length * 0.45);
  const frames = [
    ...spread(shots.slice(0, split), FRAMES_OF_BUYER).map((name) => join(folder, `buyer-${name}.png`)),
    ...spread(shots.slice(Math.floor(split / 3)), FRAMES - FRAMES_OF_BUYER).map((name) => join(folder, `console-${name}.png`)),
  ];
  const target = join(images, 'sale.webp');
  for (const quality of QUALITIES) {
    convert(['-delay', String(FRAME_MS / 10), '-loop', '0', ...frames, '-resize', `${FILM_WIDTH}x`, '-quality', String(quality), '-define', 'webp:method=6', target]);
    const { size } = await stat(target);
    console.log(`sale.webp at quality ${quality}: ${Math.round(size / 1024)} KiB`);
    if (size <= FILM_BYTES_MAX) break;
  }
  const middle = shots[Math.floor(shots.length * 0.3)];
  for (const page of ['buyer', 'console']) convert([join(folder, `${page}-${middle}.png`), '-quality', '82', '-define', 'webp:method=6', join(images, `${page}.webp`)]);
}

const folder = await mkdtemp(join(tmpdir(), 'holdfast-film-'));
const browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox', '--disable-gpu'] });
try {
  await encode(folder, await film(browser, folder));
} finally {
  await browser.close();
  await pages.stop();
  await rm(folder, { recursive: true });
}
