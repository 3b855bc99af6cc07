// A backup is renewed: other keys, other pieces, and another safe in the place of one that failed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { nickname, Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start({ safes: 6 });
});
after(() => product.stop());

/** Three of the first five safes. */
const places = [1, 2, 3, 4, 5].map((number) => `at(${nickname(number)})`).join(', ');
const PLAN = `seal(disperse(3, ${places}), split(3, ${places}))`;

test('another safe takes the place of one that lost its piece, and old certificates bring nothing back', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addText('Seed phrase', 'legal winner thank year');
  await wallet.startBackup(id, { plan: PLAN });
  await wallet.waitForState(id, 'protected');
  const old = await wallet.exportCertificates();

  await product.loseLedger(2);
  await wallet.openValue(id);
  await wallet.click('audit');
  await wallet.waitForState(id, 'at-risk');
  await wallet.openValue(id);
  await wallet.click('renew-start');
  await wallet.find('renew-safe', { safe: nickname(2) }).selectOption({ label: `${nickname(6)} instead` });
  await wallet.click('renew-confirm');
  await wallet.waitForState(id, 'protected');
  await wallet.openValue(id);
  await wallet.find('certificate-row', { state: 'held', safe: nickname(6) }).waitFor();
  assert.equal(await wallet.find('certificate-row', { safe: nickname(2) }).count(), 0);
  assert.equal(await wallet.reveal(id), 'legal winner thank year');
  const renewed = await wallet.exportCertificates();
  // Every safe has let go when nothing is under way there any more.
  await wallet.click('nav-activity');
  await wallet.find('activity-row').filter({ hasText: 'have let the old pieces of' }).waitFor();

  const other = await Wallet.fresh(product);
  t.after(() => other.close());
  await other.create();
  await other.importCertificates(old);
  const gone = await other.recoverableId('Seed phrase');
  await other.startRecovery(gone);
  await other.find('recover-row', { 'value-id': gone, state: 'unrecoverable' }).waitFor();

  const third = await Wallet.fresh(product);
  t.after(() => third.close());
  await third.create();
  await third.importCertificates(renewed);
  const back = await third.recoverableId('Seed phrase');
  await third.recover(back);
  assert.equal(await third.reveal(back), 'legal winner thank year');
});

test('what was moved is renewed without staying here', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addText('Voucher', 'worth a dinner');
  await wallet.startBackup(id, { moving: true });
  await wallet.waitForState(id, 'moved');
  await wallet.openValue(id);
  await wallet.click('renew-start');
  await wallet.click('renew-confirm');
  await wallet.find('drilled').waitFor();
  await wallet.waitForState(id, 'moved');
  await wallet.recover(id);
  assert.equal(await wallet.reveal(id), 'worth a dinner');
});

test('a safe retires that lost what it signed for: everything goes elsewhere, and what it signed is kept', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const here = await wallet.addText('Codes', 'one two three');
  await wallet.startBackup(here, { plan: PLAN });
  await wallet.waitForState(here, 'protected');
  const away = await wallet.addText('Boarding pass', 'gate 7');
  await wallet.startBackup(away, { plan: PLAN, moving: true });
  await wallet.waitForState(away, 'moved');

  await product.loseLedger(3);
  await wallet.click('nav-safes');
  await wallet.click('audit-all');
  await wallet.waitForState(here, 'at-risk');
  await wallet.waitForState(away, 'at-risk');
  await wallet.retireSafe(3, 6);
  await wallet.find('safe-retiring', { open: 0, left: 0 }).waitFor();
  await wallet.waitForState(here, 'protected');
  await wallet.waitForState(away, 'moved');
  await wallet.openValue(away);
  await wallet.find('certificate-row', { state: 'held', safe: nickname(6) }).waitFor();
  assert.equal(await wallet.find('certificate-row', { safe: nickname(3) }).count(), 0);
  await wallet.recover(away);
  assert.equal(await wallet.reveal(away), 'gate 7');

  // It goes, and what it had signed for stays to be shown to whoever asks.
  await wallet.click('nav-safes');
  await wallet.click('evidence-open');
  await wallet.find('kept-exhibit').nth(1).waitFor();
  await wallet.find('kept-look').first().click();
  await wallet.find('exhibit', { kind: 'certificate' }).waitFor();
  await wallet.removeSafe(3);
});
