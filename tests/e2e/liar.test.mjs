// One safe lies: nothing is lost by it, and the liar is named.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePorts, nickname, noise, Product, Wallet } from './harness.mjs';
import { ABOUT_CERTIFICATES, ABOUT_OWNERS, ABOUT_PIECES, startBabbler, startLiar } from './liar.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

/** A liar takes the safe's address, and the safe itself listens behind it. */
async function replaceByLiar(t, number, about, at = product) {
  const behind = await freePorts(1);
  await at.stopSafe(number);
  await at.startSafe(number, { port: behind });
  const liar = await startLiar(at.safes[number - 1], behind, about);
  t.after(() => liar.stop());
  return liar;
}

test('a certificate that the safe did not sign so counts as none', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addText('Title', 'signed, and not otherwise');
  const liar = await replaceByLiar(t, 4, ABOUT_CERTIFICATES);
  await wallet.startBackup(id);
  await wallet.find('progress-safe', { safe: nickname(4), state: 'lied' }).waitFor();
  assert.equal(await wallet.find('certificate-row', { state: 'held', safe: nickname(4) }).count(), 0);

  // The safe speaks for itself again, and the wallet has lost nothing meanwhile.
  await liar.stop();
  await product.stopSafe(4);
  await product.startSafe(4);
  await wallet.expectProtected(id);
});

test('a safe that returns flipped bits is found out', async (t) => {
  const bytes = noise(300_000, 3);
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addFile('Deed', 'deed.bin', bytes));
  const file = await first.exportCertificates();

  // Of the safes that hold whole data, which are asked first, the first one lies and another is away. Three honest safes
  // are left: just enough, and none to spare.
  const [lying, away] = await first.safesInOrder();
  const liar = await replaceByLiar(t, lying, ABOUT_PIECES);
  await product.stopSafe(away);

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const id = await second.recoverableId('Deed');
  await second.recover(id);
  const found = await second.content(id);
  assert.ok(found.equals(bytes), `${found.length} bytes came back, and not the ones that were sent`);

  assert.notEqual(liar.lies.length, 0, 'the liar was never asked');
  const warnings = await second.warnings();
  assert.ok(
    warnings.some((line) => line.includes(nickname(lying))),
    `no warning names ${nickname(lying)}: ${warnings.join(' | ')}`,
  );
});

test('a safe that answers without end costs no memory, and the others bring the value back', async (t) => {
  const few = await Product.start({ safes: 3 });
  t.after(() => few.stop());
  const first = await Wallet.fresh(few);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Deed', 'the house on the hill'));
  const file = await first.exportCertificates();

  const [asked] = await first.safesInOrder();
  const behind = await freePorts(1);
  await few.stopSafe(asked);
  await few.startSafe(asked, { port: behind });
  const babbler = await startBabbler(few.safes[asked - 1], behind);
  t.after(() => babbler.stop());

  const second = await Wallet.fresh(few);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const id = await second.recoverableId('Deed');
  await second.recover(id);
  assert.equal(await second.reveal(id), 'the house on the hill');
  // What lies in the buffers of two systems and a browser, and not what it could have sent in a minute.
  assert.ok(babbler.sent.bytes > 0, 'it was never asked');
  assert.ok(babbler.sent.bytes < 64 * 1024 ** 2, `${babbler.sent.bytes} bytes were taken`);
});

test('an owner comes back although one safe lies to him and another is dead', async (t) => {
  const recovery = 'a wardrobe full of lighthouse keepers';
  const five = await Product.start();
  t.after(() => five.stop());
  const first = await Wallet.fresh(five);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Seed of the savings wallet', 'legal winner thank year'));
  const name = await first.enrol('Heidi', recovery);

  const liar = await replaceByLiar(t, 2, ABOUT_OWNERS, five);
  await five.killSafe(4);
  const second = await Wallet.fresh(five);
  t.after(() => second.close());
  await second.create();
  assert.equal(await second.lookFor(name), 10);
  assert.match(await second.find('return-found').textContent(), /3 of 5 safes know this name/);
  // A wrong passphrase is told from a right one all the same.
  await second.comeBack('a wardrobe full of lighthouse keeper', 'wrong-passphrase');
  await second.lookFor(name);
  await second.comeBack(recovery);
  const id = await second.recoverableId('Seed of the savings wallet');
  await second.recover(id);
  assert.equal(await second.reveal(id), 'legal winner thank year');
  assert.ok(liar.lies.length > 0);
});
