// One safe lies: the value comes back all the same, and the liar is named.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePorts, nickname, noise, Product, Wallet } from './harness.mjs';
import { startLiar } from './liar.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

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
  // The liar takes the safe's address, and the safe itself listens behind it.
  const behind = await freePorts(1);
  await product.stopSafe(lying);
  await product.startSafe(lying, { port: behind });
  const liar = await startLiar(product.safes[lying - 1], behind);
  t.after(() => liar.stop());
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
