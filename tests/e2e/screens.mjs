// Takes the pictures that a person should look at: list, one value, recovery; light, dark, and as narrow as a phone.
import { join } from 'node:path';
import { noise, Product, Wallet } from './harness.mjs';

const RECOVERY = 'a wardrobe full of lighthouse keepers';
const OUT = process.env.STRONGROOM_SCREENS ?? 'target/screens';

const LOOKS = {
  light: { colorScheme: 'light', viewport: { width: 1200, height: 900 } },
  dark: { colorScheme: 'dark', viewport: { width: 1200, height: 900 } },
  narrow: { colorScheme: 'light', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
};

const product = await Product.start();
try {
  for (const [look, options] of Object.entries(LOOKS)) await takeAll(look, options);
} finally {
  await product.stop();
}

async function takeAll(look, options) {
  const wallet = await Wallet.fresh(product, options);
  const take = async (name) => {
    // A picture of something that still moves is a different one every time.
    await wallet.page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished)));
    await wallet.page.screenshot({ path: join(OUT, `${name}-${look}.png`), fullPage: true });
  };
  await wallet.find('create-passphrase').waitFor();
  await take('1-create');
  await wallet.create();
  await take('2-empty');
  await wallet.addSafes();
  await take('3-safes');
  await wallet.plug();
  await wallet.addPasskey('this laptop');
  await take('3-unlocking');
  await wallet.lock();
  await wallet.find('unlock-passkey').waitFor();
  await take('3-locked');
  await wallet.unlockByPasskey();
  const id = await wallet.addText('Seed of the savings wallet', 'legal winner thank year wave sausage worth');
  await wallet.addFile('Deed of the house', 'deed.pdf', noise(180_000));
  await wallet.openValue(id);
  await wallet.click('backup-start');
  await wallet.click('backup-face');
  await take('4-backup');
  await wallet.backUp(id, { hint: 'the paper is at the notary' });
  await wallet.click('audit');
  for (let number = 1; number <= 5; number += 1) {
    await wallet.find('certificate-row', { safe: `safe-${number}`, audit: 'sound' }).waitFor();
  }
  await take('5-value');
  await wallet.click('renew-start');
  await take('5-renew');
  await wallet.page.keyboard.press('Escape');
  await wallet.click('move-start');
  await wallet.click('move-confirm');
  await wallet.find('bring-back').waitFor();
  await take('5-moved');
  await wallet.examineCertificate(1);
  await wallet.click('evidence-ask');
  await wallet.find('exhibit', { kind: 'testimony' }).waitFor();
  await take('6-evidence');
  await wallet.click('nav-rules');
  await wallet.click('rule-add');
  await wallet.find('rule-template').selectOption('1');
  await wallet.find('rule-preview', { count: 0 }).waitFor();
  await take('6-rule');
  await wallet.page.keyboard.press('Escape');
  await wallet.addRule({ template: 3, preview: { 'moves-for-room': 1, 'is-so': 1 } });
  await take('6-rules');
  await wallet.click('nav-values');
  await wallet.find('value-row').first().waitFor();
  await take('7-list');
  const file = await wallet.exportCertificates();
  const name = await wallet.enrol('Alice', RECOVERY);
  await wallet.find('change-unkept').waitFor();
  await take('10-owner');
  await wallet.find('change-passphrase').click();
  await take('11-change-passphrase');
  await wallet.openReturning();
  await take('12-returning');
  await owned(name, look, options);
  await wallet.close();

  const second = await Wallet.fresh(product, options);
  await second.create();
  await second.importCertificates(file);
  await second.page.screenshot({ path: join(OUT, `8-import-${look}.png`), fullPage: true });
  await second.recover(await second.recoverableId('Seed of the savings wallet'));
  await second.page.screenshot({ path: join(OUT, `9-recovered-${look}.png`), fullPage: true });
  await second.close();
}

/** What an owner sees on another device. */
async function owned(name, look, options) {
  const wallet = await Wallet.fresh(product, options);
  const take = (what) => wallet.page.screenshot({ path: join(OUT, `${what}-${look}.png`), fullPage: true });
  await wallet.create('another wallet altogether');
  await wallet.lookFor(name);
  await take('13-return');
  await wallet.comeBack(RECOVERY);
  await take('13-back');
  await wallet.settledBook();
  const id = await wallet.recoverableId('Seed of the savings wallet');
  await wallet.openValue(id);
  await wallet.click('through-open');
  await take('14-through');
  await wallet.openReturning();
  await wallet.find('credential-revoke').first().click();
  await wallet.find('credential-passphrase').waitFor();
  await take('15-lost');
  await wallet.click('nav-recover');
  await wallet.fill('earlier-passphrase', RECOVERY);
  await wallet.click('earlier-list');
  await wallet.find('past-one').first().check();
  await take('16-past');
  await wallet.click('past-go');
  await wallet.find('return-report').waitFor();
  await take('17-went');
  await wallet.close();
}
