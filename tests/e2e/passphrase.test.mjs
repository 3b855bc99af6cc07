// Without the passphrase the wallet stays shut, and says so.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PASSPHRASE, Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

test('a wrong passphrase opens nothing, the right one does', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  const id = await wallet.addText('Secret', 'nobody else sees this');
  await wallet.lock();

  await wallet.tryUnlock('a wrong passphrase');
  await wallet.find('unlock-error', { code: 'wrong-passphrase' }).waitFor();
  assert.equal(await wallet.find('value-row').count(), 0);

  await wallet.unlock(PASSPHRASE);
  assert.equal(await wallet.reveal(id), 'nobody else sees this');
});

test('a wallet that was closed opens with its passphrase only', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  const id = await wallet.addText('Secret', 'still there');
  await wallet.kill();

  await wallet.reopen();
  await wallet.tryUnlock('a wrong passphrase');
  await wallet.find('unlock-error', { code: 'wrong-passphrase' }).waitFor();
  await wallet.unlock();
  assert.equal(await wallet.reveal(id), 'still there');
});
