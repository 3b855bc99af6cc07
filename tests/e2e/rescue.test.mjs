// recover.html: one file from a disk, without the site, brings everything back; it stores nothing and leaves the owner's devices as they are.
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { noise, Product, Rescue, Wallet } from './harness.mjs';

const BUILT = fileURLToPath(new URL('../../www/dist/recover.html', import.meta.url));
const SEED = 'legal winner thank year wave sausage worth useful legal winner thank yellow';
const DOOR = '4711 and then the hash key';
const TICKET = 'row 7, seat 12';
const RECOVERY = 'a wardrobe full of lighthouse keepers';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

/** The file on a stick, opened in a browser that knows nothing. */
async function stick(t, options) {
  const dir = await mkdtemp(join(tmpdir(), 'strongroom-stick-'));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
  const file = join(dir, 'recover.html');
  await copyFile(BUILT, file);
  return Rescue.open(pathToFileURL(file).href, options);
}

/** Whether any file below a directory has these bytes. */
async function anywhere(dir, text) {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  for (const { parentPath, name } of files) {
    const bytes = await readFile(join(parentPath, name));
    if (bytes.includes(text) || bytes.includes(Buffer.from(text, 'utf16le'))) return true;
  }
  return false;
}

test('a name, a passphrase and one file from a disk bring everything back, with two safes dead, and leave nothing', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Seed of the savings wallet', SEED));
  const name = await first.enrol('Alice', RECOVERY);
  // From here on plans give a part to the owner only, who needs tickets for it.
  await first.backUp(await first.addText('Door code', DOOR));
  const deed = noise(300_000);
  await first.backUp(await first.addFile('Deed of the house', 'deed.pdf', deed));
  const ticket = await first.addText('Concert', TICKET, { kind: 'ticket' });
  await first.startBackup(ticket, { moving: true });
  await first.waitForState(ticket, 'moved');
  await first.settledBook();
  await product.stopSafe(2);
  await product.killSafe(4);

  const rescue = await stick(t);
  t.after(() => rescue.close());
  await rescue.choose('name');
  await rescue.fill('rescue-name', name);
  await rescue.fill('rescue-addresses', product.safes.join('\n'));
  await rescue.click('rescue-look');
  assert.equal(await rescue.find('rescue-found').getAttribute('data-guesses'), '10');
  await rescue.pass('a wardrobe full of lighthouse keeper');
  await rescue.find('error-message', { code: 'wrong-passphrase' }).waitFor();
  await rescue.pass(RECOVERY);
  await rescue.find('rescue-back', { unread: 0 }).waitFor();
  assert.equal(await rescue.find('recover-row').count(), 4);

  const saved = await rescue.saveAll(3);
  assert.equal(saved.get('Seed-of-the-savings-wallet.txt')?.toString(), SEED);
  assert.equal(saved.get('Door-code.txt')?.toString(), DOOR);
  assert.ok(saved.get('deed.pdf')?.equals(deed));
  // What may live only once is left where it is until it is asked for; whose it is takes four of five safes to say.
  const concert = rescue.row('Concert');
  assert.equal(await concert.getAttribute('data-local'), 'false');
  await product.startSafe(2);
  await rescue.click('recover-start', {}, concert);
  assert.equal(await rescue.reveal('Concert'), TICKET);
  assert.equal(await rescue.reveal('Seed of the savings wallet'), SEED);

  assert.deepEqual(await rescue.stored(), { databases: [], local: 0, session: 0, caches: [], workers: 0 });
  const profile = await rescue.quit();
  for (const secret of [SEED, DOOR, TICKET, RECOVERY]) {
    assert.equal(await anywhere(profile, secret), false, 'it is in no file of the browser');
  }

  // The owner's own device goes on as if nobody had been here.
  await product.startSafe(4);
  await first.page.bringToFront();
  await first.backUp(await first.addText('Written afterwards', 'later'));
  await first.settledBook();
  assert.equal(await first.find('owner-superseded').count(), 0);
  await first.openReturning();
  assert.deepEqual(await first.credentials(), ['wallet (this one)']);
  // The wrong passphrase is counted; the right one is not.
  assert.equal(await first.find('tries').getAttribute('data-tries'), '1');
});

test('the text of a printed kit does it, too', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Seed of the savings wallet', SEED));
  await first.enrol('Dora', RECOVERY);
  await first.openKit();
  await first.makeKit(RECOVERY);
  const { code, text } = await first.kitOnPaper();
  await first.confirmKit(code);
  await first.settledBook();
  await product.killSafe(1);
  await product.killSafe(5);
  t.after(() => Promise.all([product.startSafe(1), product.startSafe(5)]));

  const rescue = await stick(t);
  t.after(() => rescue.close());
  await rescue.choose('kit');
  await rescue.fill('rescue-kit', 'strongroom-kit:AAAA');
  await rescue.click('rescue-look');
  await rescue.find('error-message', { code: 'kit-mistyped' }).waitFor();
  await rescue.fill('rescue-kit', text.replace(/(.{8})/g, '$1 '));
  await rescue.click('rescue-look');
  await rescue.pass(RECOVERY);
  await rescue.find('rescue-back').waitFor();
  await rescue.click('recover-start', {}, rescue.row('Seed of the savings wallet'));
  assert.equal(await rescue.reveal('Seed of the savings wallet'), SEED);
  // Forgotten at once, where its owner wants that.
  await rescue.click('rescue-forget');
  await rescue.find('rescue-look').waitFor();
});
