// What safes signed, in words: shown to the owner and to strangers, checked with the safe, and judged.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start({ safes: 3 });
});
after(() => product.stop());

/** A wallet with one value that three safes hold. */
async function owner(t, title, face) {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const id = await wallet.addText(title, 'row 7, seat 12');
  await wallet.backUp(id, face);
  return { wallet, id };
}

/** Someone without a wallet. */
async function stranger(t) {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  return wallet;
}

const text = async (wallet, kind) => (await wallet.find('exhibit', { kind }).allTextContents()).join(' ');
const finding = (wallet, code) => wallet.find('finding', { code }).waitFor();

test('a readable certificate tells everybody what it stands for; its safe vouches for it', async (t) => {
  const { wallet } = await owner(t, 'Opera ticket', { readable: true, hint: 'with Ada' });
  const file = await wallet.certificate(1);
  const other = await stranger(t);
  await other.examineFiles([file]);
  assert.match(await text(other, 'certificate'), /Opera ticket.*with Ada.*for everybody/s);
  await finding(other, 'nothing');
  await other.click('evidence-ask');
  await finding(other, 'no-contradiction');
  assert.match(await text(other, 'descriptor'), /Keys of a safe/);

  const forged = Buffer.from(file);
  forged[forged.length - 1] ^= 1;
  await other.examineFiles([forged]);
  await other.click('evidence-ask');
  await finding(other, 'no-certificate');
});

test('a sealed certificate opens for its wallet alone, whose safe has to testify', async (t) => {
  const { wallet } = await owner(t, 'Opera ticket', { hint: 'with Ada' });
  const file = await wallet.certificate(2);
  const other = await stranger(t);
  await other.examineFiles([file, Buffer.from('no certificate at all')]);
  assert.match(await text(other, 'certificate'), /sealed; only the wallet/);
  assert.doesNotMatch(await other.page.content(), /Opera|Ada/);
  assert.match(await text(other, 'unknown'), /nothing that a safe signs/);

  await wallet.click('nav-values');
  await wallet.find('value-row').click();
  await wallet.examineCertificate(2);
  assert.match(await text(wallet, 'certificate'), /Opera ticket.*with Ada.*for your wallet only/s);
  await finding(wallet, 'no-contradiction');
  await wallet.click('evidence-ask');
  await wallet.find('exhibit', { kind: 'testimony' }).waitFor();
  assert.match(await text(wallet, 'testimony'), /it has \d+ bytes with root/);
  await finding(wallet, 'no-contradiction');

  await product.stopSafe(2);
  await wallet.click('evidence-ask');
  await finding(wallet, 'did-not-answer');
  await product.startSafe(2);
});

test('a safe that lost its ledger is found by a check, and convicts itself before anybody', async (t) => {
  const { wallet, id } = await owner(t, 'Deed of the house');
  const certificate = await wallet.certificate(3);
  await wallet.openValue(id);
  const audited = (number, audit) =>
    wallet.find('certificate-row', { safe: `safe-${number}`, audit }).waitFor();
  await wallet.click('audit');
  for (const number of [1, 2, 3]) await audited(number, 'sound');

  await product.loseLedger(3);
  await wallet.click('nav-safes');
  await wallet.click('audit-all');
  await wallet.openValue(id);
  await audited(3, 'fault');
  for (const number of [1, 2]) await audited(number, 'sound');
  await wallet.waitForState(id, 'at-risk');
  assert.match(
    (await wallet.warnings()).join(),
    /Safe “safe-3” does not have what it signed for: a piece of “Deed of the house”/,
  );

  await wallet.openValue(id);
  await wallet.examineCertificate(3);
  await finding(wallet, 'no-contradiction');
  await wallet.click('evidence-ask');
  await finding(wallet, 'safe-at-fault');
  const testimony = await wallet.evidence('testimony');
  const descriptor = await wallet.evidence('descriptor');

  const judge = await stranger(t);
  await judge.examineFiles([testimony, certificate, descriptor]);
  await finding(judge, 'safe-at-fault');
  assert.match(await judge.find('finding').textContent(), /does not know the deposit that it certified/);
  // Any two of the three decide nothing.
  await judge.examineFiles([certificate, descriptor]);
  await finding(judge, 'no-contradiction');
  await judge.examineFiles([testimony, descriptor]);
  await finding(judge, 'nothing');
});

test('a certificate whose key was revoked is fetched anew, and a stranger learns that the old one proves nothing', async (t) => {
  const { wallet, id } = await owner(t, 'Deed of the house');
  const before = await wallet.certificate(1);
  await product.rotate(1);
  await product.killAndRestart();
  await wallet.lock();
  await wallet.unlock();
  await wallet.openValue(id);
  const row = wallet.find('certificate-row', { safe: 'safe-1' });
  await row.locator('summary').click();
  await row.getByText('key 2 of the safe').waitFor();
  await wallet.examineFiles([before]);
  await finding(wallet, 'key-revoked');
  await wallet.openValue(id);
  await wallet.examineCertificate(1);
  await finding(wallet, 'no-contradiction');
});
