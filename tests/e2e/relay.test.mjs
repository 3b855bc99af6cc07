// Claims 22, 23, 43 and 44: the safe that holds the key fetches the ciphertext from another one, which its owner cannot reach; and then all of it is another one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const RECOVERY = 'a wardrobe full of lighthouse keepers';
const SEED = 'legal winner thank year wave sausage worth useful legal winner thank yellow';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

test('one conversation with one safe recovers the value, and no exposed key stays in use', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const name = await first.enrol('Dora', RECOVERY);
  const id = await first.addText('Seed of the savings wallet', SEED);
  await first.startBackup(id, { plan: 'seal(at(safe-1), at(safe-2, owner))' });
  await first.waitForState(id, 'protected');
  await first.settledBook();

  // A new device, which does not reach the safe that has the ciphertext.
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  const unblock = await second.block(product.safes[0]);
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  const again = await second.recoverableId('Seed of the savings wallet');
  await second.openValue(again);
  await second.click('recover-start');
  await second.find('value-state', { state: 'moved' }).waitFor();
  await second.click('through-open');
  await second.click('through-start', { name: 'safe-2' });
  assert.equal(await second.reveal(again), SEED);

  // It is protected anew as soon as both safes can be told, and what was before brings nothing back.
  const stale = await first.exportCertificates();
  await unblock();
  await second.click('retry');
  await second.waitForState(again, 'protected');
  // The safe that was away does not know this device yet, and lets go for its owner only.
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  await second.click('nav-activity');
  await second.find('activity-row').filter({ hasText: 'have let the old pieces of' }).waitFor();
  const thief = await Wallet.fresh(product);
  t.after(() => thief.close());
  await thief.create('the wallet of a thief');
  await thief.importCertificates(stale);
  const stolen = await thief.recoverableId('Seed of the savings wallet');
  await thief.startRecovery(stolen);
  await thief.find('recover-row', { 'value-id': stolen }).filter({ hasText: 'was released' }).waitFor();
});

test('what is given to its owner only comes through one safe as well, with three of five out of reach', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  await wallet.enrol('Erin', RECOVERY);
  const id = await wallet.addText('Seed of the other wallet', SEED);
  // What the form begins with: every piece is bound to her.
  await wallet.startBackup(id, { moving: true });
  await wallet.waitForState(id, 'moved');
  await wallet.settledBook();
  const unblock = await Promise.all([0, 2, 3].map((at) => wallet.block(product.safes[at])));

  await wallet.openValue(id);
  await wallet.click('recover-start');
  await wallet.find('value-state', { state: 'moved' }).waitFor();
  await wallet.click('through-open');
  await wallet.click('through-start', { name: 'safe-2' });
  assert.equal(await wallet.reveal(id), SEED);
  await Promise.all(unblock.map((open) => open()));
  await wallet.click('retry');
  await wallet.waitForState(id, 'protected');
  await wallet.click('nav-activity');
  await wallet.find('activity-row').filter({ hasText: 'have let the old pieces of' }).waitFor();
});
