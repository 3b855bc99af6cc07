// A change of the passphrase, and of a safe that is gone: what was before brings nobody back, what is there now does, and what stays exposed is counted down.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const OLD = 'a wardrobe full of lighthouse keepers';
const NEW = 'an orchard under seven feet of snow';
const SECRET = 'legal winner thank year wave sausage worth useful legal winner thank yellow';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

/** Fills in a change; returns once it has begun on this device. */
const beginChange = async (wallet, which, fill) => {
  await wallet.click('nav-recover');
  await wallet.click(which);
  await fill();
  await wallet.click('change-submit');
};

const changed = (wallet) => wallet.find('change', { changing: false }).waitFor();

test('after the passphrase was changed only the new one brings everything back, and what the old one told of is renewed', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const id = await first.addText('Seed of the savings wallet', SECRET);
  await first.backUp(id);
  const name = await first.enrol('Dora', OLD);
  // A wrong passphrase changes nothing.
  const fill = (current) => async () => {
    await first.fill('change-current', current);
    await first.fill('change-new', NEW);
    await first.fill('change-again', NEW);
  };
  await beginChange(first, 'change-passphrase', fill('a wardrobe full of lighthouse keeper'));
  await first.find('error-message', { code: 'wrong-passphrase' }).waitFor();
  await fill(OLD)();
  await first.click('change-submit');
  await first.find('change-count').filter({ hasText: '1 of 1 backup still to be renewed' }).waitFor();
  await changed(first);
  await first.settledBook();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  // The tries of the first were counted on its own credential: they cost nobody else any.
  assert.equal(await second.lookFor(name), 10);
  await second.comeBack(OLD, 'wrong-passphrase');
  assert.equal(await second.lookFor(name), 9);
  await second.comeBack(NEW);
  const again = await second.recoverableId('Seed of the savings wallet');
  await second.recover(again);
  assert.equal(await second.reveal(again), SECRET);
  await second.settledBook();
  // It counts on there.
  await second.click('change-renew');
  await second.find('change', { exposed: 0 }).waitFor();
  await second.settledBook();
});

test('a safe that is gone is replaced, and told when it is back', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Door code', '4711'));
  await first.click('nav-recover');
  await first.find('enrol-safe').nth(4).uncheck();
  const name = await first.enrol('Emil', OLD);
  await product.killSafe(2);
  await beginChange(first, 'change-safes', async () => {
    await first.fill('change-current', OLD);
    for (const box of await first.find('change-safe').all()) {
      await box.setChecked((await box.getAttribute('data-safe')) !== 'safe-2');
    }
  });
  await first.find('change', { leaving: 1, changing: false }).waitFor();
  await first.settledBook();
  const names = await first.find('owner-seats').locator('li').allTextContents();
  assert.ok(names.length === 4 && names.every((line) => !line.includes('safe-2')), names.join('; '));

  await product.startSafe(2);
  await first.click('nav-recover');
  await first.find('change', { leaving: 0 }).waitFor();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  assert.equal(await second.lookFor(name), 10);
  await second.comeBack(OLD);
  const door = await second.recoverableId('Door code');
  await second.recover(door);
  assert.equal(await second.reveal(door), '4711');
});
