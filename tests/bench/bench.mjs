// What the owner waits for and what it costs, measured in headless Chromium against five safes on this machine.
//
// Writes the rows that `cargo xtask bench` prints: {name, value, unit, target?, note?}. Times of whole operations are taken outside
// the page, from the click to the state that the page shows, so they contain everything an owner waits for.
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { launch, noise, Product, Wallet } from '../e2e/harness.mjs';
import { Peak, Resident } from './memory.mjs';

const REPORT = process.env.STRONGROOM_REPORT ?? 'target/bench/browser.json';
const OPERATIONS = process.env.STRONGROOM_OPERATIONS ?? 'target/bench';
const RUNS = 5;
const KIB = 1024;
const MIB = 1024 * KIB;
/** Values that are backed up together. */
const MANY = 1000;
const RECOVERY = 'a wardrobe full of lighthouse keepers';

const SIZES = [
  { name: '1 KiB', bytes: KIB },
  { name: '1 MiB', bytes: MIB },
  { name: '16 MiB', bytes: 16 * MIB, target: '≤ 2000', memory: true },
];

/** `owner`: only what an owner waits for. */
const ALL = process.env.STRONGROOM_MEASURE !== 'owner';

const rows = [];
if (ALL) await operations();
const product = await Product.start();
try {
  if (ALL) {
    for (const size of SIZES) await registerAndRecover(size);
    await coupled();
  }
  await guarded();
} finally {
  await product.stop();
}
await writeFile(REPORT, JSON.stringify(rows, null, 2));

/** Median times to register a value of one size and to recover it in another profile. */
async function registerAndRecover({ name, bytes, target, memory }) {
  const registered = [];
  const recovered = [];
  for (let run = 1; run <= RUNS; run += 1) {
    await thereAndBack(noise(bytes, run), registered, recovered);
  }
  const note = `median of ${RUNS}, five local safes, from the click to the page`;
  rows.push({ name: `register ${name}`, value: median(registered), unit: 'ms', target, note });
  rows.push({ name: `recover ${name}`, value: median(recovered), unit: 'ms', target, note });
  if (!memory) return;
  // Runs of their own: looking on costs time, and the one look must not add to what the other sees.
  const peaks = { register: [], recover: [] };
  await thereAndBack(noise(bytes, RUNS + 1), [], [], {
    begin: (wallet) => Peak.begin(wallet.page),
    ...peaks,
  });
  for (const [what, [{ greatest }]] of Object.entries(peaks)) {
    rows.push({
      name: `peak memory of the engine, ${what} ${name}`,
      value: greatest / bytes,
      unit: '×',
      target: '≤ 4',
      note: 'script heap, arrays and wasm memory of its worker, all there is, over the value; one run',
    });
  }
  const resident = { register: [], recover: [] };
  const ofProcess = async (wallet) => Resident.begin(await wallet.browserPid());
  await thereAndBack(noise(bytes, RUNS + 2), [], [], { begin: ofProcess, ...resident });
  for (const [what, [{ growth }]] of Object.entries(resident)) {
    rows.push({
      name: `growth of the browser's process, ${what} ${name}`,
      value: growth / bytes,
      unit: '×',
      note: "VmHWM - VmRSS at the start: page and engine, the browser's copies for IndexedDB and network, those of the driver of this test",
    });
  }
}

/** Many values in one backup: what it takes of safes and time. */
async function coupled() {
  const wallet = await Wallet.fresh(product);
  await wallet.create();
  await wallet.addSafes();
  const { took, asked, cost } = await registerMany(wallet);
  await wallet.close();
  rows.push({ name: `coupled ${MANY} × 1 KiB`, value: took, unit: 'ms', note: 'from the click to the page' });
  rows.push({
    name: '  requests to one safe, most',
    value: Math.max(...asked.deposits.values()),
    unit: '',
    target: '≤ 2',
    note: `Spread 3 of 5, ${MANY} values of 1 KiB; the form says: ${cost}`,
  });
}

/** The same, given to its owner only; and what a new device takes to have it back. */
async function guarded() {
  const first = await Wallet.fresh(product);
  await first.create();
  await first.addSafes();
  const name = await first.enrol('Bench', RECOVERY);
  const { took, asked, cost } = await registerMany(first);
  await first.settledBook();
  await first.close();
  rows.push({
    name: `coupled ${MANY} × 1 KiB, guarded`,
    value: took,
    unit: 'ms',
    note: 'from the click to the page',
  });
  rows.push({
    name: '  requests about deposits to one safe, most',
    value: Math.max(...asked.deposits.values()),
    unit: '',
    target: '≤ 2',
    note: `Guarded 3 of 5, ${MANY} values of 1 KiB; the form says: ${cost}`,
  });
  rows.push({
    name: '  requests about a chapter of the book to one safe, most',
    value: Math.max(0, ...asked.book.values()),
    unit: '',
    note: 'what is said of so many values does not fit into a head',
  });
  rows.push({
    name: '  requests about its owner to one safe, most',
    value: Math.max(0, ...asked.owners.values()),
    unit: '',
    note: 'the book follows each change',
  });

  const [back, all] = [[], []];
  for (let run = 1; run <= RUNS; run += 1) {
    const next = await Wallet.fresh(product);
    await next.create();
    await next.lookFor(name);
    back.push(
      await time(async () => {
        const rows = shown(next.page, 'recover-row', MANY);
        await next.comeBack(RECOVERY);
        await rows;
      }),
    );
    all.push(
      await time(async () => {
        await next.click('recover-all');
        await next.find('recover-row', { state: 'moved' }).first().waitFor({ state: 'detached' });
      }),
    );
    await next.close();
  }
  const note = `${MANY} values, five local safes, Argon2id in it, from the click to the page, median of ${RUNS}`;
  rows.push({ name: 'come back on a new device', value: median(back), unit: 'ms', target: '≤ 1500', note });
  rows.push({ name: '  and have all contents there', value: median(all), unit: 'ms', note: 'after that' });
}

/**
 * Until the page shows so many of something. The page itself looks at every frame: the driver of this test asks half a second apart when it
 * has to wait for long.
 */
async function shown(page, testid, count) {
  await page.waitForFunction(
    ([testid, count]) => {
      const within = (root) => {
        const here = root.querySelectorAll(`[data-testid="${testid}"]`);
        if (here.length > 0) return here.length;
        return [...root.querySelectorAll('*')].reduce(
          (n, { shadowRoot }) => n + (shadowRoot ? within(shadowRoot) : 0),
          0,
        );
      };
      return within(document) >= count;
    },
    [testid, count],
    { polling: 'raf' },
  );
}

/** Backs up many values at once by what the form begins with; says what was asked of each safe. */
async function registerMany(wallet) {
  const content = noise(MANY * KIB, 7);
  const tickets = Array.from({ length: MANY }, (_, at) => {
    return [`ticket-${at}.bin`, content.subarray(at * KIB, (at + 1) * KIB)];
  });
  await wallet.addFiles(tickets);
  await wallet.click('nav-values');
  await wallet.find('value-row').filter({ hasText: 'ticket-0' }).first().click();
  await wallet.click('backup-start');
  await wallet.click('backup-together');
  await wallet.click('backup-with-all');
  const cost = (await wallet.find('outlook-cost').textContent()).trim().replace(/\s+/g, ' ');
  // What is asked about further deposits is the book's: a chapter of it may be due.
  const asked = { deposits: new Map(), owners: new Map(), book: new Map() };
  const first = new Map();
  wallet.page.context().on('request', (request) => {
    const { host, pathname } = new URL(request.url());
    if (!product.safes.includes(`http://${host}`) || request.method() === 'OPTIONS') return;
    const [, , kind, id] = pathname.split('/');
    if (kind === 'deposits' && !first.has(host)) first.set(host, id);
    const about = kind === 'owners' ? asked.owners : first.get(host) === id ? asked.deposits : asked.book;
    about.set(host, (about.get(host) ?? 0) + 1);
  });
  const took = await time(async () => {
    await wallet.click('backup-submit');
    await wallet.find('value-state', { state: 'protected' }).first().waitFor();
  });
  return { took, asked, cost };
}

/** One value there and back. */
async function thereAndBack(content, registered, recovered, peaks) {
  const first = await Wallet.fresh(product);
  await first.create();
  await first.addSafes();
  const id = await first.addFile('Measured', 'measured.bin', content);
  await first.openValue(id);
  await first.click('backup-start');
  const registering = await peaks?.begin(first);
  registered.push(
    await time(async () => {
      await first.click('backup-submit');
      await first.find('value-state', { state: 'protected' }).first().waitFor();
    }),
  );
  peaks?.register.push(await registering.end());
  const file = await first.exportCertificates();
  await first.close();

  const second = await Wallet.fresh(product);
  await second.create();
  await second.importCertificates(file);
  const again = await second.recoverableId('Measured');
  const recovering = await peaks?.begin(second);
  recovered.push(await time(() => second.recover(again)));
  peaks?.recover.push(await recovering.end());
  await second.close();
}

/** Single operations beside their peers, in one worker. */
async function operations() {
  const types = { '/operations.js': 'text/javascript', '/bench_wasm_bg.wasm': 'application/wasm' };
  const server = createServer(async ({ url }, answer) => {
    const body = types[url] ? await readFile(join(OPERATIONS, url)) : '<!doctype html><title>bench</title>';
    answer.writeHead(200, { 'content-type': types[url] ?? 'text/html' }).end(body);
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const browser = await launch();
  const page = await browser.newPage();
  await page.goto(`http://localhost:${server.address().port}/`);
  const { results, error } = await page.evaluate(
    () =>
      new Promise((resolve) => {
        new Worker('/operations.js', { type: 'module' }).onmessage = ({ data }) => resolve(data);
      }),
  );
  await browser.close();
  server.close();
  if (error) throw new Error(error);

  const of = (name) => results.find((result) => result.name === name);
  const rate = ({ amount }, ms) => (amount / ms) * 1000;
  const micros = ({ amount }, ms) => (ms / amount) * 1000;
  const [sealed, dispersed, rebuilt, split, combined] = [
    'seal',
    'disperse',
    'undisperse',
    'split',
    'combine',
  ].map(of);
  const subtle = 'SubtleCrypto AES-GCM';
  const turns = 'median of 9 after one to warm up';
  rows.push(
    {
      name: 'seal',
      value: rate(sealed, sealed.ours),
      unit: 'MiB/s',
      note: `16 MiB in chunks, as stored, ${turns}`,
    },
    {
      name: `  ${subtle}`,
      value: rate(sealed, sealed.peer),
      unit: 'MiB/s',
      note: `16 MiB in the same chunks, ${turns}`,
    },
    {
      name: `  ours / ${subtle}`,
      value: sealed.peer / sealed.ours,
      unit: '×',
      note: 'rates, same worker, in turns',
    },
    {
      name: `  ${subtle}, one call`,
      value: rate(sealed, sealed.whole),
      unit: 'MiB/s',
      note: `16 MiB at once, ${turns}`,
    },
    {
      name: '  ours / one call',
      value: sealed.whole / sealed.ours,
      unit: '×',
      note: 'rates, same worker, in turns',
    },
    {
      name: 'disperse 3 of 5',
      value: rate(dispersed, dispersed.ours),
      unit: 'MiB/s',
      note: `85 whole stripes of 3 × 64 KiB, ${turns}`,
    },
    {
      name: 'undisperse 3 of 5',
      value: rate(rebuilt, rebuilt.ours),
      unit: 'MiB/s',
      note: `the same, from the last three shards of each, two of which are computed ones, ${turns}`,
    },
  );
  for (const [name, result] of Object.entries({ split, combine: combined })) {
    const note = `3 of 5, 32 bytes, mean of 1000, ${turns}`;
    rows.push(
      { name: `Shamir ${name}`, value: micros(result, result.ours), unit: 'µs', note },
      { name: '  shamir-secret-sharing', value: micros(result, result.peer), unit: 'µs', note },
      { name: '  ours / theirs', value: result.ours / result.peer, unit: '×', note: 'times' },
    );
  }
}

async function time(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
