// What the owner waits for, measured in headless Chromium against five safes on this machine.
//
// Writes the rows that `cargo xtask bench` prints: {name, value, unit, target?, note?}. Times are taken outside the
// page, from the click to the state that the page shows, so they contain everything an owner waits for.
import { writeFile } from 'node:fs/promises';
import { noise, Product, Wallet } from '../e2e/harness.mjs';

const REPORT = process.env.STRONGROOM_REPORT ?? 'target/bench/browser.json';
const RUNS = 5;
const KIB = 1024;
const MIB = 1024 * KIB;

const SIZES = [
  { name: '1 KiB', bytes: KIB },
  { name: '1 MiB', bytes: MIB },
  { name: '16 MiB', bytes: 16 * MIB, target: '≤ 2000' },
];

const rows = [];
const product = await Product.start();
try {
  for (const size of SIZES) await registerAndRecover(size);
} finally {
  await product.stop();
}
await writeFile(REPORT, JSON.stringify(rows, null, 2));

/** Median times to register a value of one size and to recover it in another profile. */
async function registerAndRecover({ name, bytes, target }) {
  const registered = [];
  const recovered = [];
  for (let run = 1; run <= RUNS; run += 1) {
    const first = await Wallet.fresh(product);
    await first.create();
    await first.addSafes();
    const id = await first.addFile('Measured', 'measured.bin', noise(bytes, run));
    await first.openValue(id);
    await first.click('backup-start');
    registered.push(
      await time(async () => {
        await first.click('backup-submit');
        await first.find('value-state', { state: 'protected' }).first().waitFor();
      }),
    );
    const file = await first.exportCertificates();
    await first.close();

    const second = await Wallet.fresh(product);
    await second.create();
    await second.importCertificates(file);
    const again = await second.recoverableId('Measured');
    recovered.push(await time(() => second.recover(again)));
    await second.close();
  }
  const note = `median of ${RUNS}, five local safes, from the click to the page`;
  rows.push({ name: `register ${name}`, value: median(registered), unit: 'ms', target, note });
  rows.push({ name: `recover ${name}`, value: median(recovered), unit: 'ms', target, note });
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
