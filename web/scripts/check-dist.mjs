// Builds the pages anew and compares them with web/dist, byte by byte: what is committed, and so what
// the server embeds, matches the sources. Also checks how much JavaScript each page loads.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const JS_BYTES_MAX = 90 * 1024;
const PAGE_BYTES_MAX = 120 * 1024;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');

async function files(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

/** The page's scripts and styles, with what they import. */
async function parts(page) {
  const html = await readFile(join(dist, page), 'utf8');
  const names = new Set([...html.matchAll(/(?:src|href)="\/(assets\/[^"]+|[a-z]+\.js|favicon\.svg)"/g)].map((match) => match[1]));
  for (const name of names) {
    if (!name.endsWith('.js')) continue;
    const text = await readFile(join(dist, name), 'utf8');
    for (const match of text.matchAll(/from ?"\.\/([^"]+\.js)"|import ?"\.\/([^"]+\.js)"/g)) names.add(`assets/${match[1] ?? match[2]}`);
  }
  return [...names];
}

async function checkSize(page) {
  let script = 0;
  let all = gzipSync(await readFile(join(dist, page))).length;
  for (const name of await parts(page)) {
    const size = gzipSync(await readFile(join(dist, name))).length;
    all += size;
    if (name.endsWith('.js')) script += size;
  }
  console.log(`${page}: ${(script / 1024).toFixed(1)} KiB of JavaScript, ${(all / 1024).toFixed(1)} KiB in all, compressed`);
  return script <= JS_BYTES_MAX && all <= PAGE_BYTES_MAX;
}

const fresh = await mkdtemp(join(tmpdir(), 'holdfast-web-'));
let failed = 0;
try {
  await build({ root, logLevel: 'warn', build: { outDir: fresh, emptyOutDir: true } });
  const [built, kept] = [await files(fresh), await files(dist)];
  for (const name of new Set([...built, ...kept])) {
    const isSame = built.includes(name) && kept.includes(name) && (await readFile(join(fresh, name))).equals(await readFile(join(dist, name)));
    if (isSame) continue;
    failed++;
    console.error(`web/dist/${name} does not match the sources`);
  }
  for (const page of kept.filter((name) => name.endsWith('.html'))) {
    if (await checkSize(page)) continue;
    failed++;
    console.error(`${page} is too large`);
  }
} finally {
  await rm(fresh, { recursive: true });
}
if (failed) {
  console.error('Run `npm run build` in web/ and commit web/dist.');
  process.exit(1);
}
console.log('web/dist matches the sources.');
