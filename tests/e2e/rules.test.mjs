// Rules: what is new or changed is backed up by itself, what is described leaves this device, and what does not fit makes room first.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noise, Product, Wallet } from './harness.mjs';

const MIB = 1024 * 1024;

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

test('everything is backed up by itself, and every change, until the rule is off', async (t) => {
  const wallet = await owner(t);
  const before = await wallet.addText('Codes', 'one two three');
  await wallet.addRule({ preview: { 'backs-up': 1 } });
  await wallet.waitForState(before, 'protected');
  const id = await wallet.addText('Letter', 'as it was');
  await wallet.waitForState(id, 'protected');
  await wallet.change(id, { text: 'as it is' });
  // The safes have the change when the page no longer offers to back it up.
  await wallet.openValue(id);
  await wallet.find('renew-change').waitFor({ state: 'detached' });
  await wallet.waitForState(id, 'protected');
  const other = await Wallet.fresh(product);
  t.after(() => other.close());
  await other.create();
  await other.importCertificates(await wallet.exportCertificates());
  await other.recover(id);
  assert.equal(await other.reveal(id), 'as it is');

  // It is still there after a lock, and what happens meanwhile is caught up with.
  await wallet.lock();
  await wallet.unlock();
  await wallet.click('nav-rules');
  await wallet.click('rule-on');
  await wallet.find('rule-row', { on: 'false' }).waitFor();
  const off = await wallet.addText('Nobody asked', 'for it');
  await wallet.waitForState(off, 'local-only');
  await wallet.click('nav-rules');
  await wallet.click('rule-on');
  await wallet.waitForState(off, 'protected');
});

test('what a rule has moved and its owner takes back stays, until he says so', async (t) => {
  const wallet = await owner(t);
  await wallet.addRule({
    name: 'Travel',
    tags: 'travel, journey',
    moves: true,
    preview: {},
  });
  const stays = await wallet.addText('Letter', 'not of a journey');
  const id = await wallet.addText('Boarding pass', 'gate 7', { tags: 'spring, travel' });
  await wallet.waitForState(id, 'moved');
  await wallet.waitForState(stays, 'local-only');
  await wallet.recover(id);
  assert.equal(await wallet.reveal(id), 'gate 7');
  await wallet.find('left-alone').waitFor();
  await wallet.click('follow-rules');
  await wallet.waitForState(id, 'moved');
  // A safe that the rule needs cannot be removed before the rule is.
  await wallet.click('nav-rules');
  await wallet.click('rule-delete');
  await wallet.find('rule-row').waitFor({ state: 'detached' });
});

test('what does not fit makes room, or waits and says how much is missing', async (t) => {
  const wallet = await owner(t);
  const [first, second] = [noise(700_000, 1), noise(600_000, 2)];
  await wallet.setCapacity(1);
  const old = await wallet.addFile('First', 'first.bin', first);

  // Nothing may go yet. The form keeps what was typed, and saves it once there is room.
  await wallet.tryAddFile('Second', 'second.bin', second);
  await wallet.find('making-room', { leaving: 0 }).waitFor();
  await wallet.page.keyboard.press('Escape');
  await wallet.find('value-title').waitFor({ state: 'detached' });
  await wallet.addRule({ template: 3, preview: { 'moves-for-room': 1 }, amount: 0 });
  await wallet.waitForState(old, 'local-only');
  const id = await wallet.addFile('Second', 'second.bin', second);
  await wallet.waitForState(old, 'moved');

  // A recovery makes room for itself, too.
  await wallet.recover(old);
  await wallet.waitForState(id, 'moved');
  assert.ok(Buffer.from(first).equals(await wallet.content(old)));

  // Without the rule it waits, also over a lock; given room it goes on by itself.
  await wallet.click('nav-rules');
  await wallet.click('rule-delete');
  await wallet.startRecovery(id);
  await wallet.find('make-room').waitFor();
  await wallet.lock();
  await wallet.unlock();
  await wallet.openValue(id);
  await wallet.click('make-room');
  const missing = first.length + second.length - MIB;
  assert.equal(await wallet.find('room').getAttribute('data-lacking'), String(missing));
  await wallet.setCapacity('');
  await wallet.waitForState(id, 'protected');
  assert.ok(Buffer.from(second).equals(await wallet.content(id)));
});
