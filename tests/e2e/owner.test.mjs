// The owner: a name, a passphrase and the addresses of the safes are enough; and not enough for anybody else.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const SEED = 'legal winner thank year wave sausage worth useful legal winner thank yellow';
const RECOVERY = 'a wardrobe full of lighthouse keepers';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

test('everything is back on a new device, with two safes away and nothing but name and passphrase', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const early = await first.addText('Seed of the savings wallet', SEED);
  await first.backUp(early);
  // How easily a passphrase is guessed, by somebody who knows the name, is said while it is typed.
  await first.click('nav-recover');
  await first.fill('enrol-passphrase', 'xanthorrhoea1987');
  await first.find('strength', { verdict: 'fair' }).waitFor();
  await first.fill('enrol-handle', 'Xanthorrhoea');
  await first.find('strength', { verdict: 'easy' }).filter({ hasText: 'Names that you use here' }).waitFor();
  await first.fill('enrol-passphrase', RECOVERY);
  await first.find('strength', { verdict: 'strong' }).waitFor();
  const name = await first.enrol('Alice', RECOVERY);
  assert.match(name, /^alice-[a-z0-9]{6}$/);
  // What is backed up later is in the book, too.
  await first.backUp(await first.addText('Door code', '4711'));
  await first.settledBook();

  await product.stopSafe(2);
  await product.killSafe(4);

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  assert.equal(await second.lookFor(` ${name.toUpperCase()} `), 10);
  await second.comeBack('a wardrobe full of lighthouse keeper', 'wrong-passphrase');
  assert.equal(await second.lookFor(name), 9);
  await second.comeBack(RECOVERY);
  const again = await second.recoverableId('Seed of the savings wallet');
  await second.recover(again);
  assert.equal(await second.reveal(again), SEED);
  const door = await second.recoverableId('Door code');
  await second.recover(door);
  assert.equal(await second.reveal(door), '4711');

  await Promise.all([product.startSafe(2), product.startSafe(4)]);
  // The safes that were away get to know this device; from then on the book is kept here.
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  await second.settledBook();
  // The first device is told that it no longer keeps the book.
  await first.page.bringToFront();
  await first.backUp(await first.addText('Written by the old device', 'late'));
  await first.click('nav-recover');
  await first.find('owner-superseded').waitFor();
});

test('a book that no single record holds comes back whole, from three of five safes', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const name = await first.enrol('Carol', RECOVERY);
  const titles = Array.from({ length: 9 }, (_, n) => `Recovery code ${n}`);
  for (const title of titles) await first.backUp(await first.addText(title, `code of ${title}`));
  await first.settledBook();

  await product.killSafe(1);
  await product.killSafe(3);
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  t.after(() => Promise.all([product.startSafe(1), product.startSafe(3)]));
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  for (const title of titles) {
    const id = await second.recoverableId(title);
    if (title !== titles[0]) continue;
    await second.recover(id);
    assert.equal(await second.reveal(id), `code of ${title}`);
  }
});

test('after ten wrong passphrases there is no eleventh, and the enrolled wallet goes on', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const name = await first.enrol('bob', RECOVERY);
  const thief = await Wallet.fresh(product);
  t.after(() => thief.close());
  await thief.create('the wallet of a thief');
  for (let left = 10; left > 0; left -= 1) {
    assert.equal(await thief.lookFor(name), left);
    await thief.comeBack(`a wrong passphrase, number ${left}`, 'wrong-passphrase');
  }
  assert.equal(await thief.lookFor(name), 0);
  await thief.comeBack(RECOVERY, 'no-guesses');
  // Who is enrolled is not locked out.
  await first.page.bringToFront();
  await first.backUp(await first.addText('Written while it was locked', 'still here'));
  await first.settledBook();
});

test('an enrolment that was interrupted goes on', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  await product.stopSafe(3);
  await wallet.beginEnrolment('carol', RECOVERY);
  await wallet.find('owner-name').waitFor();
  await wallet.kill();
  await product.startSafe(3);
  await wallet.reopen();
  await wallet.wake();
  await wallet.click('nav-recover');
  await wallet.find('owner', { enrolled: true }).waitFor();
});
