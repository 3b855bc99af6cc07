// Windows of one wallet: one works, the others follow, and the one that is used takes over. And a wallet that the browser has cleared.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PASSPHRASE, Product, Wallet } from './harness.mjs';

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

test('a second window follows, takes over when it is used, and gives back when it is closed', async (t) => {
  const wallet = await owner(t);
  const id = await wallet.addText('Codes', 'one two three');
  const second = await wallet.secondWindow();
  await second.fill('unlock-passphrase', PASSPHRASE);
  await second.click('unlock-submit');
  await second.find('following').waitFor();
  assert.equal(await wallet.find('following').count(), 0);

  // What is done in the first is seen in the second, without a reload.
  await wallet.startBackup(id);
  await second.find('value-row', { 'value-id': id, state: 'protected' }).waitFor();

  // What is done in the second is done there.
  const other = await second.addText('Letter', 'from the second window');
  await second.find('following').waitFor({ state: 'detached' });
  await wallet.find('following').waitFor();
  await wallet.waitForState(other, 'local-only');

  // It begins something that has to wait, and is closed: the first goes on with it.
  await product.stopSafe(2);
  await second.startBackup(other);
  await second.find('progress-safe', { state: 'away' }).waitFor();
  await second.page.close();
  await wallet.find('following').waitFor({ state: 'detached' });
  await product.startSafe(2);
  await wallet.waitForState(other, 'protected');
  assert.equal(await wallet.reveal(other), 'from the second window');
});

test('two windows in which the owner does things in turn lose nothing of it', async (t) => {
  const wallet = await owner(t);
  const second = await wallet.secondWindow();
  await second.fill('unlock-passphrase', PASSPHRASE);
  await second.click('unlock-submit');
  await second.find('nav-values').waitFor();
  const ids = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const window = turn % 2 === 0 ? wallet : second;
    await window.page.bringToFront();
    ids.push(await window.addText(`Value ${turn}`, `content ${turn}`));
    await window.startBackup(ids.at(-1));
  }
  for (const window of [wallet, second]) {
    await window.page.bringToFront();
    for (const id of ids) await window.waitForState(id, 'protected');
  }
  // Locked here, it goes on there.
  await second.lock();
  await wallet.page.bringToFront();
  await wallet.find('following').waitFor({ state: 'detached' });
  for (const [turn, id] of ids.entries()) assert.equal(await wallet.reveal(id), `content ${turn}`);
});

test('a wallet that the browser has cleared is missed, and its values come back', async (t) => {
  const wallet = await owner(t);
  const id = await wallet.addText('Codes', 'one two three');
  await wallet.backUp(id);
  const file = await wallet.exportCertificates();
  await wallet.clearDatabase();
  await wallet.find('emptied').waitFor();
  await wallet.fill('create-passphrase', PASSPHRASE);
  await wallet.fill('create-passphrase-again', PASSPHRASE);
  await wallet.click('create-submit');
  // The way leads to where it is brought back.
  await wallet.find('import-file').waitFor();
  await wallet.importCertificates(file);
  await wallet.recover(id);
  assert.equal(await wallet.reveal(id), 'one two three');
});
