// Ways to come back beside name and passphrase: a printed kit, a passkey; and what is lost is revoked.
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Product, Rescue, Wallet } from './harness.mjs';

const BUILT = fileURLToPath(new URL('../../www/dist/recover.html', import.meta.url));

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

test('a value that was changed on two devices is kept as both, and one that was changed on one is so on the other', async (t) => {
  const { wallet: first, name } = await owner(t, 'Ida');
  const code = await first.addText('Door code', '4711');
  await first.backUp(code);
  await first.settledBook();
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  const seed = await second.recoverableId('Seed of the savings wallet');
  await second.recoverableId('Door code');
  await second.recover(seed);
  await second.recover(code);
  await second.settledBook();
  // The second one changes both, each into something as long as before.
  const CHANGED = SEED.replace('legal', 'basic');
  await second.change(seed, { text: CHANGED });
  await second.change(code, { text: '0815' });
  for (const id of [seed, code]) {
    await second.openValue(id);
    await second.click('renew-change');
    await second.waitForState(id, 'protected');
  }
  await second.settledBook();
  // The first one has one of them as it was before, and the other one changed into something else.
  await first.page.bringToFront();
  await first.change(code, { text: '1234' });
  // It hears of the second one when it has something for the book itself.
  await first.backUp(await first.addText('Written here', 'late'));
  await first.click('nav-recover');
  await first.find('owner-superseded').waitFor();
  await first.lookFor(name);
  await first.comeBack(RECOVERY);
  await first.waitForState(seed, 'protected');
  await first.waitForState(code, 'protected');
  assert.equal(await first.reveal(seed), CHANGED);
  assert.equal(await first.reveal(code), '0815');
  await first.click('nav-values');
  const apart = await first.find('value-row', { state: 'local-only' }).getAttribute('data-value-id');
  assert.equal(await first.reveal(apart), '1234');
  await first.click('nav-activity');
  await first.find('activity-row').filter({ hasText: 'on this device and on another one' }).waitFor();
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

test('what a thief of an open wallet lets go comes back with the passphrase: on a device, and from a disk', async (t) => {
  const { wallet: first, name } = await owner(t, 'Hanna');
  const title = 'Door code';
  const door = await first.addText(title, '4711 and then the hash key');
  await first.startBackup(door, { moving: true });
  await first.waitForState(door, 'moved');
  await first.settledBook();
  // Another device of hers, open, has it back and deletes it.
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  await second.settledBook();
  const evening = Date.now();
  const id = await second.recoverableId(title);
  await second.bringBackAndDelete(id);
  await second.settledBook();

  // Nothing is left for whoever only comes back.
  const dir = await mkdtemp(join(tmpdir(), 'strongroom-stick-'));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
  await copyFile(BUILT, join(dir, 'recover.html'));
  const file = pathToFileURL(join(dir, 'recover.html')).href;
  const look = async (rescue) => {
    await rescue.choose('name');
    await rescue.fill('rescue-name', name);
    await rescue.fill('rescue-addresses', product.safes.join('\n'));
    await rescue.click('rescue-look');
  };
  const now = await Rescue.open(file);
  t.after(() => now.close());
  await look(now);
  await now.pass(RECOVERY);
  await now.find('rescue-back', { unread: 0 }).waitFor();
  assert.equal(await now.row(title).count(), 0);
  // As it was in the evening before, it is there.
  const then = await Rescue.open(file);
  t.after(() => then.close());
  await look(then);
  await then.fill('rescue-passphrase', RECOVERY);
  await then.click('rescue-earlier');
  await choosePast(then, evening);
  await then.find('rescue-back', { unread: 0 }).waitFor();
  await then.click('recover-start', {}, then.row(title));
  await then.find('recover-row', { local: true }).filter({ hasText: title }).waitFor();
  assert.equal(await then.reveal(title), '4711 and then the hash key');

  // It was a mistake: on the device itself it takes the passphrase, and no more.
  await second.click('nav-recover');
  await second.fill('earlier-passphrase', 'not the passphrase at all');
  await second.click('earlier-list');
  await second.find('error-message', { code: 'wrong-passphrase' }).waitFor();
  await second.fill('earlier-passphrase', RECOVERY);
  await second.click('earlier-list');
  await choosePast(second, evening);
  await second.find('return-report', { 'taking-back': 0 }).waitFor();
  await second.settledBook();
  const again = await second.recoverableId(title);
  await second.recover(again);
  assert.equal(await second.reveal(again), '4711 and then the hash key');

  // It was none: a device that is new goes back, too, and the book has it again.
  await second.bringBackAndDelete(again);
  await second.settledBook();
  const third = await Wallet.fresh(product);
  t.after(() => third.close());
  await third.create('a third wallet');
  await third.lookFor(name);
  await third.fill('return-passphrase', RECOVERY);
  await third.click('return-earlier');
  await choosePast(third, evening);
  await third.find('return-report', { 'taking-back': 0 }).waitFor();
  await third.settledBook();
  const back = await third.recoverableId(title);
  await third.recover(back);
  assert.equal(await third.reveal(back), '4711 and then the hash key');
  await hasEverything(third);
});

test('what was written over is as it was for whoever goes back exactly, with a passkey', async (t) => {
  const { wallet: first, name } = await owner(t, 'Ida');
  const title = 'Door code';
  await first.backUp(await first.addText(title, '4711 and then the hash key'));
  await first.plug();
  await first.openReturning();
  await first.addDevice('the blue key', RECOVERY);
  await first.settledBook();
  // On another device somebody writes over what there is.
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(RECOVERY);
  const id = await second.recoverableId(title);
  await second.recover(id);
  await second.change(id, { text: 'nothing that opens anything' });
  await second.openValue(id);
  await second.click('renew-change');
  await second.waitForState(id, 'protected');
  await second.settledBook();

  await first.openAnother('third');
  await first.create('a third wallet');
  await first.beginReturnByDevice();
  await first.click('return-device-earlier');
  await choosePast(first, undefined, { exactly: true });
  await first.find('return-report', { 'taking-back': 0 }).waitFor();
  const again = await first.recoverableId(title);
  await first.recover(again);
  assert.equal(await first.reveal(again), '4711 and then the hash key');
});

/** Goes back to how the book stood at a time, or as long ago as the safes have kept it. */
async function choosePast(on, time, { exactly = false } = {}) {
  await on.find('past').waitFor();
  const all = await on.find('past-one').all();
  const untils = await Promise.all(all.map(async (one) => Number(await one.getAttribute('data-until'))));
  // The safes' clocks count seconds.
  const at = time === undefined ? all.length - 1 : untils.findIndex((until) => until <= time);
  assert.ok(at >= 0, `kept until ${untils}, wanted ${time}`);
  await all[at].check();
  if (exactly) await on.find('past-exactly').check();
  await on.click('past-go');
}
