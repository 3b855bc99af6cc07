// A full disk costs patience and nothing else.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { nickname, noise, Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

const MIB = 1024 * 1024;

test('a value that does not fit is refused, and what was there stays', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  const small = await wallet.addText('Small', 'was here before');
  await wallet.kill();
  await wallet.reopen({ disk: 2 * MIB });
  await wallet.unlock();

  await wallet.tryAddFile('Large', 'large.bin', noise(8 * MIB, 11));
  await wallet.find('error-message', { code: 'no-room' }).waitFor();
  // Room is made and the same form is sent again.
  await wallet.liftDiskLimit();
  await wallet.click('value-save');
  const row = wallet.find('value-row').filter({ hasText: 'Large' });
  await row.waitFor();
  const large = await row.getAttribute('data-value-id');

  await wallet.kill();
  await wallet.reopen();
  await wallet.unlock();
  assert.equal(await wallet.reveal(small), 'was here before');
  const found = await wallet.content(large);
  assert.ok(found.equals(noise(8 * MIB, 11)), 'other bytes than were added');
});

test('a recovery that finds the disk full says so and goes on when there is room', async (t) => {
  const bytes = noise(8 * MIB, 12);
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addFile('Heirloom', 'heirloom.bin', bytes));
  const file = await first.exportCertificates();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const id = await second.recoverableId('Heirloom');
  await second.kill();
  await second.reopen({ disk: 6 * MIB });
  await second.unlock();
  await second.startRecovery(id);
  await second.page.getByText('no room', { exact: false }).first().waitFor();
  await second.liftDiskLimit();
  await second.recoverRow(id).locator('a[href^="#/value/"]').waitFor();
  const found = await second.content(id);
  assert.ok(found.equals(bytes), 'other bytes than were backed up');
});

test('a registration that finds the disk full blames no safe and goes on when there is room', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addText('Receipt', 'signed for five times');
  const numbers = product.safes.map((_, index) => index + 1);
  for (const number of numbers) await product.stopSafe(number);
  await wallet.startBackup(id);
  for (const number of numbers)
    await wallet.find('progress-safe', { safe: nickname(number), state: 'away' }).waitFor();
  await wallet.kill();
  for (const number of numbers) await product.startSafe(number);

  // The safes answer now, and there is no room for a word of it.
  await wallet.reopen({ disk: 1 });
  await wallet.unlock();
  await wallet.openValue(id);
  await wallet.page.getByText('no room', { exact: false }).first().waitFor();
  assert.equal(await wallet.find('progress-safe', { state: 'lied' }).count(), 0, 'a safe is blamed');
  await wallet.liftDiskLimit();
  await wallet.expectProtected(id);
});
