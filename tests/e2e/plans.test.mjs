// Every plan of the mission's claims, against real safes: backed up on one device, brought back on another.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const WORDS = 'violet harbour nineteen';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

/** The table of spec/plan.md §5, with this wallet's names. */
const CLAIMS = {
  1: 'at(A)',
  3: 'copies(at(A), at(B))',
  4: 'seal(at(A), book)',
  5: 'seal(at(A), copies(book, at(A)))',
  6: 'seal(at(A), at(B))',
  '7 all': 'split(3, at(A), at(B), at(C))',
  '7 some': 'split(2, at(A), at(B), at(C))',
  '7 pieces': 'disperse(2, at(A), at(B), at(C))',
  '7 kept': 'split(2, at(A), at(B), file)',
  8: 'split(2, seal(at(A), book), seal(at(B), book), seal(at(C), book))',
  9: 'seal(disperse(2, at(A), at(B), at(C)), book)',
  11: 'seal(at(A), split(2, at(A), at(B)))',
  '12 words': 'seal(at(A), derive(memory, at(B)))',
  '12 file': 'seal(at(A), derive(file, at(B)))',
  13: 'seal(at(A), derive(book, at(B)))',
};

/** A wallet of its own, on a device of its own. */
async function wallet(t) {
  const made = await Wallet.fresh(product);
  t.after(() => made.close());
  await made.create();
  return made;
}

const named = (plan) => plan.replace(/at\(([A-E])/g, (_, letter) => `at(safe-${letter.charCodeAt(0) - 64}`);

test('every plan brings its value back on another device', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const files = new Map();
  for (const [claim, plan] of Object.entries(CLAIMS)) {
    const id = await first.addText(`Claim ${claim}.`, `the content of ${plan}`);
    await first.startBackup(id, { plan: named(plan), words: plan.includes('memory') ? WORDS : undefined });
    if (plan.includes('file')) files.set(claim, await first.keepPiece());
    await first.waitForState(id, 'protected');
  }
  const certificates = await first.exportCertificates();

  const second = await wallet(t);
  await second.importCertificates(certificates);
  for (const [claim, plan] of Object.entries(CLAIMS)) {
    const id = await second.recoverableId(`Claim ${claim}.`);
    const given = plan.includes('memory') ? { words: WORDS } : undefined;
    // A file where two of three pieces suffice is not asked for.
    await second.recover(id, claim === '12 file' ? { file: files.get(claim) } : given);
    assert.equal(await second.reveal(id), `the content of ${plan}`, claim);
  }
});

test('the piece that the owner keeps replaces a safe that is gone', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const id = await first.addText('Kept in part', 'one piece is mine');
  await first.startBackup(id, { plan: named(CLAIMS['7 kept']) });
  await first.find('certificate-row', { state: 'held', safe: 'safe-2' }).waitFor();
  // All safes have signed, and still it is not called done: nobody has shown the file.
  const piece = await first.keepPiece();
  await first.waitForState(id, 'protected');
  const certificates = await first.exportCertificates();

  await product.stopSafe(1);
  t.after(() => product.startSafe(1));
  const second = await wallet(t);
  await second.importCertificates(certificates);
  const again = await second.recoverableId('Kept in part');
  await second.recover(again, { file: piece });
  assert.equal(await second.reveal(again), 'one piece is mine');
});

test('the piece that the owner keeps can be a QR code', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const id = await first.addText('On paper', 'a part of the key is in a drawer');
  await first.startBackup(id, { plan: named(CLAIMS['12 file']) });
  const text = await first.scanPiece();
  await first.waitForState(id, 'protected');
  const certificates = await first.exportCertificates();

  const second = await wallet(t);
  await second.importCertificates(certificates);
  const again = await second.recoverableId('On paper');
  await second.startRecovery(again);
  await second.give(again, { text: 'something else' });
  await second.recoverRow(again).getByText('This is not the text of a piece').waitFor();
  // As it comes off paper, with breaks.
  await second.give(again, { text: text.replace(/.{40}/g, '$& ') });
  await second.recoverRow(again).locator('a[href^="#/value/"]').waitFor();
  assert.equal(await second.reveal(again), 'a part of the key is in a drawer');
});

test('wrong words are said to be wrong, and the right ones bring it back', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const id = await first.addText('Behind words', 'only for who knows them');
  await first.startBackup(id, { plan: named(CLAIMS['12 words']), words: WORDS });
  await first.waitForState(id, 'protected');
  const certificates = await first.exportCertificates();

  const second = await wallet(t);
  await second.importCertificates(certificates);
  const again = await second.recoverableId('Behind words');
  await second.startRecovery(again);
  await second.give(again, { words: 'violet harbour ninety' });
  await second.recoverRow(again).getByText('These are not the words').waitFor();
  await second.give(again, { words: WORDS });
  await second.recoverRow(again).locator('a[href^="#/value/"]').waitFor();
  assert.equal(await second.reveal(again), 'only for who knows them');
});

test('values that are backed up together come back one at a time', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const tickets = [];
  for (const row of [1, 2, 3]) tickets.push(await first.addText(`Ticket ${row}`, `row ${row}, seat 7`));
  await first.startBackup(tickets[0], { others: tickets.slice(1) });
  for (const ticket of tickets) await first.waitForState(ticket, 'protected');
  const certificates = await first.exportCertificates();

  const second = await wallet(t);
  await second.importCertificates(certificates);
  await second.recover(tickets[1]);
  assert.equal(await second.reveal(tickets[1]), 'row 2, seat 7');
  await second.waitForState(tickets[0], 'moved');
  await second.waitForState(tickets[2], 'moved');
  // The rest at once.
  await second.click('nav-recover');
  await second.click('recover-all');
  for (const [at, ticket] of tickets.entries()) {
    await second.waitForState(ticket, 'protected');
    assert.equal(await second.reveal(ticket), `row ${at + 1}, seat 7`);
  }
});

test('a plan that cannot be read says where, and one that cannot be carried out says why', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const id = await first.addText('Never sent', 'stays here');
  await first.openValue(id);
  await first.click('backup-start');
  await first.click('backup-preset', { preset: 'custom' });
  await first.fill('plan-text', 'seal(at(safe-1) at(safe-2))');
  await first.find('plan-error').getByText('At character 17').waitFor();
  await first.fill('plan-text', 'seal(at(safe-1), at(safe-9))');
  await first.find('plan-error').getByText('No safe is called “safe-9”').waitFor();
  await first.fill('plan-text', 'seal(at(safe-1), at(safe-2, owner))');
  await first.find('plan-error').getByText('At character 17').waitFor({ state: 'detached' });
  await first.click('backup-submit');
  await first.find('error-message', { code: 'not-enrolled' }).waitFor();
  await first.waitForState(id, 'local-only');
});

test('the form says what a plan survives and exposes, and lets its owner try cases', async (t) => {
  const first = await wallet(t);
  await first.addSafes();
  const id = await first.addText('Weighed', 'seed '.repeat(100));
  await first.openValue(id);
  await first.click('backup-start');
  const says = (tone, text) => first.find('outlook-sentence', { tone }).filter({ hasText: text }).waitFor();
  await says('good', 'Any 2 of the 5 safes can be lost.');
  await says('good', 'Fewer than 3 safes together can read nothing');
  // All five stand on this machine, by their addresses and by what they say.
  await says('warning', 'share the address 127.0.0.1 and the cloud “this machine”');
  await first.find('outlook-cost').getByText('10 requests').waitFor();
  // Three, four or five of five that are there 99 times of 100, then 9 of 10.
  await first.find('outlook-chance').getByText('99.99901 %').waitFor();
  await first.find('outlook-presence').selectOption('0.9');
  await first.find('outlook-chance').getByText('99.144 %').waitFor();
  // Two gone: it comes back. Three: it does not. The third curious instead: it reads nothing.
  for (const safe of ['safe-1', 'safe-2']) await first.click('outlook-safe', { safe });
  await first.find('outlook-case', { recovers: 'true', reads: 'false' }).waitFor();
  await first.click('outlook-safe', { safe: 'safe-3' });
  await first.find('outlook-case', { recovers: 'false' }).waitFor();
  await first.click('outlook-safe', { safe: 'safe-3' });
  await first.find('outlook-case', { recovers: 'true', reads: 'false' }).waitFor();

  await first.click('backup-preset', { preset: 'copies' });
  await says('warning', 'keep a single safe');
  await first.click('backup-preset', { preset: 'custom' });
  await first.find('plan-example').selectOption({ label: 'The key is at another safe' });
  await says('warning', 'If safe-1 or safe-2 is lost, it is lost.');
  await first.click('backup-submit');
  await first.waitForState(id, 'protected');
  // What was made is echoed, not what was asked for.
  await first.openValue(id);
  await first.click('plan-open');
  await first.find('plan-shown').getByText('seal(at(safe-1), at(safe-2))').waitFor();
  await says('warning', 'If safe-1 or safe-2 is lost, it is lost.');
});
