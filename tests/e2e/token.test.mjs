// A safe that takes deposits of invited people only.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start({ safes: 3, tokens: 1 });
});
after(() => product.stop());

test('a safe that wants a token gets it, and a larger one when it is used up', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  const small = await product.invite(3, { deposits: 1 });
  await first.addSafes(product.safes, { 3: small });
  await first.backUp(await first.addText('Within', 'fits under the token'));

  const id = await first.addText('Beyond', 'does not fit any more');
  await first.startBackup(id);
  const refused = first
    .find('progress-safe', { safe: 'safe-3' })
    .filter({ hasText: 'no more room under your token' });
  await refused.waitFor();

  await first.setToken(3, 'strongroom-token-that-is-none');
  await first.openValue(id);
  await first.find('progress-safe', { safe: 'safe-3' }).filter({ hasText: 'wants a token' }).waitFor();

  await first.setToken(3, await product.invite(3));
  await first.expectProtected(id);
});

test('recovery needs no token', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes(product.safes, { 3: await product.invite(3) });
  await first.backUp(await first.addText('Ticket', 'row 7, seat 12'));
  const file = await first.exportCertificates();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  await product.stopSafe(1);
  t.after(() => product.startSafe(1));
  const id = await second.recoverableId('Ticket');
  await second.recover(id);
  assert.equal(await second.reveal(id), 'row 7, seat 12');
});
