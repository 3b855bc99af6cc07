// A passkey or a security key opens the wallet on this device, beside the passphrase and never in its place. Chromium's own virtual
// authenticators stand for them; WebAuthn wants a name for an address, and the page is served at `localhost`.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

let product;
before(async () => {
  product = await Product.start({ safes: 1 });
});
after(() => product.stop());

async function owner(t) {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  return { wallet, id: await wallet.addText('Secret', 'nobody else sees this') };
}

test('a passkey is added, opens the wallet, survives a restart of the page, and is removed', async (t) => {
  const { wallet, id } = await owner(t);
  await wallet.plug();
  await wallet.lock();
  assert.equal(await wallet.find('unlock-passkey').count(), 0, 'there is none yet');
  await wallet.unlock();

  await wallet.addPasskey('this laptop');
  await wallet.lock();
  await wallet.unlockByPasskey();
  assert.equal(await wallet.reveal(id), 'nobody else sees this');

  await wallet.page.reload();
  await wallet.unlockByPasskey();
  assert.equal(await wallet.reveal(id), 'nobody else sees this');
  await wallet.lock();
  await wallet.unlock();

  // The same authenticator again would be no spare.
  await wallet.tryToAddPasskey('the same');
  await wallet.find('error-message', { code: 'passkey-known' }).waitFor();

  await wallet.click('passkey-remove');
  await wallet.find('passkeys', { count: 0 }).waitFor();
  await wallet.lock();
  assert.equal(await wallet.find('unlock-passkey').count(), 0);
  await wallet.page.reload();
  await wallet.find('unlock-passphrase').waitFor();
  assert.equal(await wallet.find('unlock-passkey').count(), 0);
  await wallet.unlock();
  assert.equal(await wallet.reveal(id), 'nobody else sees this');
});

test('an authenticator without the function for it is refused in words, and changes nothing', async (t) => {
  const { wallet } = await owner(t);
  await wallet.plug({ hasPrf: false });
  await wallet.tryToAddPasskey('an old key');
  const refusal = wallet.find('error-message', { code: 'passkey-without-prf' });
  await refusal.waitFor();
  assert.match(await refusal.textContent(), /cannot open a wallet.*Your wallet is as it was/s);
  await wallet.find('passkeys', { count: 0 }).waitFor();
  await wallet.lock();
  assert.equal(await wallet.find('unlock-passkey').count(), 0);
  await wallet.unlock();
});

test('an authenticator that gives nothing while it makes a passkey is asked again', async (t) => {
  const { wallet, id } = await owner(t);
  await wallet.plug();
  // Chromium's gives at once; many others do not.
  await wallet.page.evaluate(() => {
    const { getClientExtensionResults: all } = PublicKeyCredential.prototype;
    PublicKeyCredential.prototype.getClientExtensionResults = function () {
      const making = this.response instanceof AuthenticatorAttestationResponse;
      return making ? { prf: { enabled: true } } : all.call(this);
    };
  });
  await wallet.addPasskey('slow');
  await wallet.lock();
  await wallet.unlockByPasskey();
  assert.equal(await wallet.reveal(id), 'nobody else sees this');
});

test('whom the authenticator does not know opens nothing, and the passphrase still does', async (t) => {
  const { wallet, id } = await owner(t);
  const key = await wallet.plug();
  await wallet.addPasskey('a key');
  assert.equal(await key.count(), 1);
  await wallet.lock();
  await key.setVerified(false);
  await wallet.click('unlock-passkey');
  await wallet.find('unlock-error', { code: 'passkey-unused' }).waitFor();
  // Lost: another key is in its place, which knows nothing of the wallet.
  await key.unplug();
  await wallet.plug();
  await wallet.click('unlock-passkey');
  await wallet.find('unlock-error', { code: 'passkey-unused' }).waitFor();
  await wallet.unlock();
  assert.equal(await wallet.reveal(id), 'nobody else sees this');
});

test('opened by a passkey, the wallet locks itself after ten idle minutes all the same', async (t) => {
  const { wallet } = await owner(t);
  await wallet.plug();
  await wallet.addPasskey('this laptop');
  await wallet.lock();
  await wallet.page.clock.install();
  await wallet.page.reload();
  await wallet.unlockByPasskey();
  await wallet.page.clock.fastForward('09:00');
  assert.equal(await wallet.find('nav-values').count(), 1);
  await wallet.page.clock.fastForward('02:00');
  await wallet.find('unlock-passkey').waitFor();
  assert.equal(await wallet.find('nav-values').count(), 0);
});

test('either of two keys opens the wallet, and two windows lose neither', async (t) => {
  const { wallet, id } = await owner(t);
  const first = await wallet.plug({ transport: 'usb' });
  await wallet.addPasskey('first');
  await first.unplug();

  const second = await wallet.secondWindow();
  const spare = await second.plug({ transport: 'usb' });
  await second.unlock();
  await second.addPasskey('second');
  // The first window has taken it over, and what it writes leaves both.
  await wallet.find('passkeys', { count: 2 }).waitFor();
  await wallet.page.bringToFront();
  const other = await wallet.addText('Another', 'written afterwards');
  await second.page.bringToFront();
  await second.lock();
  await second.unlockByPasskey();
  assert.equal(await second.reveal(other), 'written afterwards');

  // Removed in one window, it opens nothing in the other, although that one still shows the way.
  await second.lock();
  await second.find('unlock-passkey').waitFor();
  await wallet.page.bringToFront();
  await wallet.click('unlocking-open');
  await wallet.find('passkey-remove', {}, wallet.find('passkey-row', { label: 'second' })).click();
  await wallet.find('passkeys', { count: 1 }).waitFor();
  await second.page.bringToFront();
  await second.click('unlock-passkey');
  await second.find('unlock-error', { code: 'passkey-unused' }).waitFor();
  await spare.unplug();
  await second.unlock();
  assert.equal(await second.reveal(id), 'nobody else sees this');
});
