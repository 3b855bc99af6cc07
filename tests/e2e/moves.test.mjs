// Moves: a value leaves this device when the safes have it, and comes back; whatever is killed on the way, it is somewhere.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

async function owner(t) {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  return wallet;
}

/** Waits until the open value is here and at no safe. */
async function isHereOnly(wallet, id, text) {
  await wallet.openValue(id);
  await wallet.find('backup-start').waitFor();
  assert.equal(await wallet.reveal(id), text);
}

test('a ticket is moved to the safes and brought back, and lives in one place at a time', async (t) => {
  const wallet = await owner(t);
  const id = await wallet.addText('Ticket', 'row 7, seat 12');
  await wallet.startBackup(id, { moving: true });
  await wallet.waitForState(id, 'moved');
  // Nothing else brings it back on another device, so the page says so.
  await wallet.find('export-reminder').waitFor();
  const file = await wallet.exportCertificates();
  await wallet.find('export-reminder').waitFor({ state: 'detached' });
  // Nothing of it is left in the browser's storage that the page would show.
  await wallet.lock();
  await wallet.unlock();
  await wallet.openValue(id);
  assert.equal(await wallet.find('reveal').count(), 0);

  await wallet.click('bring-back');
  await isHereOnly(wallet, id, 'row 7, seat 12');

  // The certificates that were saved meanwhile bring nothing back any more.
  const other = await Wallet.fresh(product);
  t.after(() => other.close());
  await other.create();
  await other.importCertificates(file);
  const gone = await other.recoverableId('Ticket');
  await other.startRecovery(gone);
  await other.find('recover-row', { 'value-id': gone, state: 'unrecoverable' }).waitFor();
});

test('what is protected is taken off the device after a trial, also while two safes are away', async (t) => {
  const wallet = await owner(t);
  const id = await wallet.addText('Voucher', 'worth a dinner');
  await wallet.backUp(id);
  await wallet.click('drill');
  await wallet.find('drilled').waitFor();
  assert.equal(await wallet.reveal(id), 'worth a dinner');

  await product.stopSafe(1);
  await product.stopSafe(4);
  t.after(() => Promise.allSettled([product.startSafe(1), product.startSafe(4)]));
  await wallet.click('move-start');
  await wallet.click('move-confirm');
  await wallet.waitForState(id, 'moved');
  await wallet.recover(id);
  assert.equal(await wallet.reveal(id), 'worth a dinner');
});

test('a move to safes that do not answer keeps the value here, and can be taken back', async (t) => {
  const wallet = await owner(t);
  const id = await wallet.addText('Key', 'stays until all have signed');
  await product.stopSafe(3);
  await wallet.startBackup(id, { moving: true });
  await wallet.find('progress-safe', { state: 'away' }).waitFor();
  assert.equal(await wallet.reveal(id), 'stays until all have signed');
  await wallet.click('cancel');
  await product.startSafe(3);
  await wallet.click('retry');
  await wallet.waitForState(id, 'protected');
  assert.equal(await wallet.reveal(id), 'stays until all have signed');
});

test('a change is backed up by a new generation, and what another device recovers is the change', async (t) => {
  const wallet = await owner(t);
  const id = await wallet.addText('Codes', 'one two three');
  await wallet.backUp(id);
  await wallet.change(id, { title: 'Recovery codes', text: 'four five six' });
  await wallet.find('renew-change').waitFor();
  await wallet.waitForState(id, 'at-risk');
  // It is a change after a lock, too.
  await wallet.lock();
  await wallet.unlock();
  await wallet.openValue(id);
  await wallet.click('renew-change');
  await wallet.waitForState(id, 'protected');
  assert.equal(await wallet.reveal(id), 'four five six');

  const other = await Wallet.fresh(product);
  t.after(() => other.close());
  await other.create();
  await other.importCertificates(await wallet.exportCertificates());
  assert.equal(await other.recoverableId('Recovery codes'), id);
  await other.recover(id);
  assert.equal(await other.reveal(id), 'four five six');
});
