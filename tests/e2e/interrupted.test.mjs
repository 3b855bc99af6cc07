// A wallet that dies in the middle goes on where it was.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { nickname, noise, Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

test('a registration goes on after the browser was killed while a safe was away', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addText('Half way', 'kept by four of five');

  // With one safe away the registration cannot end, so the middle of it lasts as long as is needed.
  await product.stopSafe(5);
  await wallet.startBackup(id);
  await wallet.find('progress-safe', { safe: nickname(5), state: 'away' }).waitFor();
  await wallet.kill();
  await product.startSafe(5);

  await wallet.reopen();
  await wallet.unlock();
  await wallet.expectProtected(id);
  assert.equal(await wallet.reveal(id), 'kept by four of five');
});

test('a registration goes on after the browser was killed with bodies on their way', async (t) => {
  const bytes = noise(8 * 1024 * 1024, 7);
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addFile('Long way', 'long.bin', bytes);
  // From the click on, any moment is a fair one; the first sent body is one of them.
  const sent = wallet.page.waitForRequest((request) => request.method() === 'PUT');
  await wallet.openValue(id);
  await wallet.click('backup-start');
  await wallet.click('backup-submit');
  await sent;
  await wallet.kill();

  await wallet.reopen();
  await wallet.unlock();
  await wallet.expectProtected(id);
  const found = await wallet.content(id);
  assert.ok(found.equals(bytes), 'the local copy is another one now');
});

test('a recovery goes on after the browser was killed', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Way back', 'there and back'));
  const file = await first.exportCertificates();

  // Three of five are away: what is left is one too few, and the recovery has to wait.
  for (const number of [1, 2, 3]) await product.stopSafe(number);
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const id = await second.recoverableId('Way back');
  await second.startRecovery(id);
  await second.find('progress-safe', { state: 'away' }).first().waitFor();
  await second.kill();
  for (const number of [1, 2, 3]) await product.startSafe(number);

  await second.reopen();
  await second.unlock();
  await second.openValue(id);
  await second.find('download-content').waitFor();
  assert.equal(await second.reveal(id), 'there and back');
});

test('a wallet that does not open says so, and opens when it is loaded again', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  // The engine is on its way and does not arrive, the first time.
  let asked = 0;
  await wallet.page.context().route('**/*.wasm', (route) => {
    asked += 1;
    if (asked > 1) return route.continue();
  });
  await wallet.page.reload();
  await wallet.find('reload').waitFor();
  assert.match(await wallet.shows(), /What the wallet has stored is still there/);
  await wallet.click('reload');
  await wallet.unlock();
});
