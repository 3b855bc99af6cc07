// There and back: what was registered comes back on another device, byte for byte, from any three of five safes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noise, Product, Wallet } from './harness.mjs';

const SEED = 'legal winner thank year wave sausage worth useful legal winner thank yellow';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

test('a value comes back on a fresh device while two safes are away', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const id = await first.addText('Seed of the savings wallet', SEED);
  await first.backUp(id);
  const file = await first.exportCertificates();

  await product.stopSafe(2);
  await product.killSafe(4);
  t.after(() => Promise.all([product.startSafe(2), product.startSafe(4)]));

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.importCertificates(file);
  const again = await second.recoverableId('Seed of the savings wallet');
  await second.recover(again);
  assert.equal(await second.reveal(again), SEED);
  assert.deepEqual(await second.content(again), Buffer.from(SEED));
});

test('the passphrase of a certificate file is needed', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Door code', '4711'));
  const file = await first.exportCertificates();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.tryImport(file, 'not the passphrase of this file');
  await second.find('error-message', { code: 'wrong-passphrase' }).waitFor();
});

test('a file of 16 MiB is the same after recovery', async (t) => {
  const bytes = noise(16 * 1024 * 1024);
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const id = await first.addFile('Scans', 'scans.bin', bytes);
  await first.backUp(id);
  const file = await first.exportCertificates();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const again = await second.recoverableId('Scans');
  await second.recover(again);
  const found = await second.content(again);
  // Not deepEqual: its message would print both.
  assert.ok(found.equals(bytes), `${found.length} bytes came back, and not the ones that were sent`);
});

test('deposits outlive a restart of their safe and the death of all', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const id = await first.addText('Recovery codes', '1111-2222\n3333-4444');
  await first.backUp(id);
  const file = await first.exportCertificates();

  await product.stopSafe(1);
  await product.startSafe(1);
  await product.killSafe(2);
  await product.startSafe(2);
  await product.killAndRestart();
  // The three that are left must answer; two of them have been restarted twice.
  await product.stopSafe(4);
  await product.stopSafe(5);
  t.after(() => Promise.all([product.startSafe(4), product.startSafe(5)]));

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const again = await second.recoverableId('Recovery codes');
  await second.recover(again);
  assert.equal(await second.reveal(again), '1111-2222\n3333-4444');
});
