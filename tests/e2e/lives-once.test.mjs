// Tickets: of two devices that have the certificates, one gets it, and the other is told and may take it over.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const TICKET = 'row 7, seat 12';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

async function owner(t) {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  return wallet;
}

/** Whether a value has come to a wallet, once that is decided. */
async function hasIt(wallet, id) {
  await wallet.openValue(id);
  await wallet.find('reveal').or(wallet.find('value-forget')).first().waitFor();
  return (await wallet.find('reveal').count()) > 0;
}

test('two devices race for a ticket: one gets it, the other is told, and takes it over on purpose only', async (t) => {
  const [first, second] = [await owner(t), await owner(t)];
  await first.addSafes();
  const id = await first.addText('Concert', TICKET, { kind: 'ticket' });
  await first.startBackup(id, { moving: true });
  await first.waitForState(id, 'moved');
  await second.importCertificates(await first.exportCertificates());
  // One safe is away; four of five suffice.
  await product.stopSafe(2);
  await Promise.all([first.startRecovery(id), second.startRecovery(id)]);
  const has = [await hasIt(first, id), await hasIt(second, id)];
  assert.notEqual(has[0], has[1], 'one of them has it');
  const [winner, loser] = has[0] ? [first, second] : [second, first];
  assert.equal(await winner.reveal(id), TICKET);
  assert.ok((await loser.warnings()).some((line) => line.includes('belongs to another device')));
  await product.startSafe(2);

  await loser.openValue(id);
  await loser.click('take-over');
  await loser.click('take-over-confirm');
  await loser.find('reveal').waitFor();
  assert.equal(await loser.reveal(id), TICKET);
});

test('a ticket that stays here is this device’s, and moves out under new certificates', async (t) => {
  const [first, second] = [await owner(t), await owner(t)];
  await first.addSafes();
  const id = await first.addText('Train', TICKET, { kind: 'ticket' });
  await first.backUp(id);
  await second.importCertificates(await first.exportCertificates());
  await second.startRecovery(id);
  await second.openValue(id);
  await second.find('value-forget').waitFor();
  assert.equal(await first.reveal(id), TICKET);

  await first.click('move-start');
  await first.click('move-confirm');
  await first.waitForState(id, 'moved');
  // The certificates from before are worth nothing; the new ones bring it to whoever comes first.
  await second.importCertificates(await first.exportCertificates());
  await second.recover(id);
  assert.equal(await second.reveal(id), TICKET);
  await first.startRecovery(id);
  await first.openValue(id);
  await first.find('value-forget').click();
  await first.find('value-row', { 'value-id': id }).waitFor({ state: 'detached' });
});
