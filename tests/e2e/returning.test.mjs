// Ways to come back beside name and passphrase: a printed kit, a passkey; and what is lost is revoked.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const SEED = 'legal winner thank year wave sausage worth useful legal winner thank yellow';
const RECOVERY = 'a wardrobe full of lighthouse keepers';
const OTHER = 'an orchard under seven feet of snow';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

/** A wallet with one value at all safes, whose owner is enrolled. */
async function owner(t, handle) {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  await wallet.backUp(await wallet.addText('Seed of the savings wallet', SEED));
  return { wallet, name: await wallet.enrol(handle, RECOVERY) };
}

/** The seed is there again. */
async function hasEverything(wallet) {
  const id = await wallet.recoverableId('Seed of the savings wallet');
  await wallet.recover(id);
  assert.equal(await wallet.reveal(id), SEED);
}

test('a printed kit brings its owner back while the name is locked, with two safes dead', async (t) => {
  const { wallet: first, name } = await owner(t, 'Dora');
  await first.openKit();
  await first.makeKit('a wrong passphrase altogether', 'wrong-passphrase');
  await first.makeKit(RECOVERY);
  const { code, text } = await first.kitOnPaper();
  assert.match(text, /^strongroom-kit:/);
  // What stands on it can be read by a telephone, and says the name; the passphrase is nowhere.
  assert.equal(await first.readQr(), text);
  const paper = await first.find('kit-sheet').textContent();
  assert.ok(paper.includes(name) && !paper.includes(RECOVERY));
  // It counts once it is on paper.
  await first.confirmKit('qqqqqq', 'other-kit');
  await first.confirmKit(code.toUpperCase());
  await first.find('kit-status', { stale: false }).waitFor();

  // A stranger who knows the name uses up its guesses.
  const thief = await Wallet.fresh(product);
  t.after(() => thief.close());
  await thief.create('the wallet of a thief');
  for (let left = 10; left > 0; left -= 1) {
    assert.equal(await thief.lookFor(name), left);
    await thief.comeBack(`a wrong passphrase, number ${left}`, 'wrong-passphrase');
  }
  assert.equal(await thief.lookFor(name), 0);

  await product.killSafe(2);
  await product.killSafe(4);
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  // Typed from paper, with a mistake first.
  const typed = text.replace(/(.{8})/g, '$1 ');
  await second.lookWithKit(
    typed.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
    'kit-mistyped',
  );
  assert.equal(await second.lookWithKit(typed), 10);
  await second.comeBack('a wardrobe full of lighthouse keeper', 'wrong-passphrase');
  assert.equal(await second.lookWithKit(text), 9);
  await second.comeBack(RECOVERY);
  await hasEverything(second);
  await Promise.all([product.startSafe(2), product.startSafe(4)]);

  // Nor does the stranger keep the owner from anything on a device that is enrolled: it has guesses of its own.
  await second.openReturning();
  // Ten of the stranger, one with the kit, and one at this device before.
  assert.equal(await second.find('tries').getAttribute('data-tries'), '12');
  await second.forgetTries(RECOVERY);
  assert.equal(await second.find('tries').count(), 0);
});

test('a new kit takes the place of the old paper', async (t) => {
  const { wallet } = await owner(t, 'Emil');
  await wallet.openKit();
  await wallet.makeKit(RECOVERY);
  const old = await wallet.kitOnPaper();
  await wallet.confirmKit(old.code);
  await wallet.openKit();
  await wallet.makeKit(RECOVERY);
  const next = await wallet.kitOnPaper();
  assert.notEqual(next.code, old.code);
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  // Until it is on paper, the one in the drawer counts.
  assert.equal(await second.lookWithKit(old.text), 10);
  await wallet.page.bringToFront();
  await wallet.confirmKit(next.code);
  await second.page.bringToFront();
  await second.lookWithKit(old.text, 'too-few-safes');
  assert.equal(await second.lookWithKit(next.text), 10);
  await second.comeBack(RECOVERY);
  await hasEverything(second);
});

test('a passkey brings everything back without name or passphrase, with two safes dead, and is revoked', async (t) => {
  const { wallet } = await owner(t, 'Frida');
  await wallet.plug();
  await wallet.openReturning();
  await wallet.addDevice('the blue key', RECOVERY);
  assert.deepEqual(await wallet.credentials(), ['device the blue key', 'wallet (this one)']);

  await product.killSafe(1);
  await product.killSafe(5);
  // Another wallet in the same browser stands for another device: it knows nothing; the authenticator is the same.
  await wallet.openAnother('second');
  await wallet.create('another wallet altogether');
  await wallet.returnByDevice();
  await hasEverything(wallet);
  await Promise.all([product.startSafe(1), product.startSafe(5)]);
  await wallet.openReturning();
  await wallet.revoke('the blue key', RECOVERY);
  await wallet.openAnother('third');
  await wallet.create('a third wallet');
  await wallet.returnByDevice('device-unknown');
});

test('a device that is lost is no longer known, and its owner is', async (t) => {
  const { wallet: first, name } = await owner(t, 'Gustav');
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  await second.settledBook();
  await second.openReturning();
  const lost = (await second.credentials()).filter((one) => one !== 'wallet (this one)');
  assert.equal(lost.length, 1);
  await second.revoke(lost[0].replace(/^wallet /, ''), 'not the passphrase at all', 'wrong-passphrase');
  await second.revoke(lost[0].replace(/^wallet /, ''), RECOVERY, undefined, OTHER);
  assert.deepEqual(await second.credentials(), ['wallet (this one)']);
  // Whoever has the lost device changes nothing with it.
  await first.page.bringToFront();
  await first.openReturning();
  await first.find('credentials', { count: 0 }).waitFor();
  // The wrong passphrase is counted until its owner has it forgotten.
  await second.page.bringToFront();
  // What it knew is of no use any more: everything is under other keys, and the passphrase is another one.
  await second.click('nav-recover');
  await second.find('change', { changing: false, exposed: 0 }).waitFor();
  await second.settledBook();
  await second.openReturning();
  await second.forgetTries(OTHER);
  assert.equal(await second.find('tries').count(), 0);
  const third = await Wallet.fresh(product);
  t.after(() => third.close());
  await third.create('a third wallet');
  await third.lookFor(name);
  await third.comeBack(RECOVERY, 'wrong-passphrase');
  await third.comeBack(OTHER);
  await hasEverything(third);
});
