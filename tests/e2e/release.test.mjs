// Release: the safes let go and sign for it, and from then on the local copy is the only one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

test('what was released stays on the device and comes back nowhere else', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const id = await first.addText('Let go', 'only here from now on');
  await first.backUp(id);
  const file = await first.exportCertificates();

  await first.click('release-start');
  await first.click('release-confirm');
  // It can be backed up again when the last safe has let go.
  await first.find('backup-start').waitFor();
  await first.waitForState(id, 'local-only');
  assert.equal(await first.reveal(id), 'only here from now on');

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create();
  await second.importCertificates(file);
  const gone = await second.recoverableId('Let go');
  await second.startRecovery(gone);
  await second.find('recover-row', { 'value-id': gone, state: 'unrecoverable' }).waitFor();
});
