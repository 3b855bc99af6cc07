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

test('how easily a new passphrase is guessed is said while it is typed, and forbids nothing', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  const says = (verdict, text) => wallet.find('strength', { verdict }).filter({ hasText: text }).waitFor();
  await wallet.fill('create-passphrase', 'password');
  await says('short', 'at least 12 characters');
  await wallet.fill('create-passphrase', 'obstinate flagpole thimble caravan mustard');
  await says('strong', 'Strong enough');
  await wallet.fill('create-passphrase', 'password123password123');
  await says('easy', 'Too easy to guess');
  await wallet.create('password123password123');
});

test('without the script that says it a wallet is made all the same', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  const refused = wallet.page.waitForEvent('requestfailed', (request) => request.url().includes('/guesses-'));
  await wallet.page.context().route('**/guesses-*.js', (route) => route.abort());
  await wallet.fill('create-passphrase', PASSPHRASE);
  await refused;
  await wallet.create();
});
