// A change of the passphrase, and of a safe that is gone: what was before brings nobody back, what is there now does, and what stays exposed is counted down.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Product, Wallet } from './harness.mjs';

const OLD = 'a wardrobe full of lighthouse keepers';
const NEW = 'an orchard under seven feet of snow';
const SECRET = 'legal winner thank year wave sausage worth useful legal winner thank yellow';

let product;
before(async () => {
  product = await Product.start();
});
after(() => product.stop());

/** Fills in a change; returns once it has begun on this device. */
const beginChange = async (wallet, which, fill) => {
  await wallet.click('nav-recover');
  await wallet.click(which);
  await fill();
  await wallet.click('change-submit');
};

const changed = (wallet) => wallet.find('change', { changing: false }).waitFor();

test('after the passphrase was changed only the new one brings everything back, and what the old one told of is renewed', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  const id = await first.addText('Seed of the savings wallet', SECRET);
  await first.backUp(id);
  const name = await first.enrol('Dora', OLD);
  await first.plug();
  await first.openReturning();
  await first.addDevice('the blue key', OLD);
  // A wrong passphrase changes nothing.
  const fill = (current) => async () => {
    await first.fill('change-current', current);
    await first.fill('change-new', NEW);
    await first.fill('change-again', NEW);
  };
  await beginChange(first, 'change-passphrase', fill('a wardrobe full of lighthouse keeper'));
  await first.find('error-message', { code: 'wrong-passphrase' }).waitFor();
  await fill(OLD)();
  await first.click('change-submit');
  await first.find('change-count').filter({ hasText: '1 of 1 backup still to be renewed' }).waitFor();
  await changed(first);
  await first.settledBook();

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  // The tries of the first were counted on its own credential: they cost nobody else any.
  assert.equal(await second.lookFor(name), 10);
  await second.comeBack(OLD, 'wrong-passphrase');
  assert.equal(await second.lookFor(name), 9);
  await second.comeBack(NEW);
  const again = await second.recoverableId('Seed of the savings wallet');
  await second.recover(again);
  assert.equal(await second.reveal(again), SECRET);
  await second.settledBook();
  // It counts on there.
  await second.click('change-renew');
  await second.find('change', { exposed: 0 }).waitFor();
  await second.settledBook();

  // Her passkey is let in by her safes, and has nothing that it opens, until she uses it once more.
  await first.openReturning();
  await first.find('credential-behind').waitFor();
  await first.openAnother('third');
  await first.create('a wallet for the passkey');
  await first.returnByDevice('device-behind');
  await first.page.goto(product.page);
  await first.unlock();
  await first.openReturning();
  const known = await first.credentials();
  await product.killSafe(5);
  await first.renewDevice('the blue key', NEW);
  await first.find('credentials-said').filter({ hasText: 'Not at Safe E' }).waitFor();
  await product.startSafe(5);
  await first.click('credentials-again');
  await first.find('credential-behind').filter({ hasText: 'bring you back at Safe E' }).waitFor();
  assert.deepEqual([await first.credentials(), known.length], [known, 3]);
  await first.page.goto(`${product.page}/?wallet=third`);
  await first.unlock('a wallet for the passkey');
  await first.returnByDevice();
  const third = await first.recoverableId('Seed of the savings wallet');
  await first.recover(third);
  assert.equal(await first.reveal(third), SECRET);
  // In coming back it was renewed where it was not yet.
  await first.openReturning();
  await first
    .find('credential-row')
    .filter({ hasText: 'the blue key' })
    .filter({ hasText: 'Safe D, Safe E' })
    .waitFor();
  assert.equal(await first.find('credential-row').count(), 4);
  assert.equal(await first.find('credential-behind').count(), 0);
});

test('a safe that is gone is replaced, and told when it is back', async (t) => {
  const first = await Wallet.fresh(product);
  t.after(() => first.close());
  await first.create();
  await first.addSafes();
  await first.backUp(await first.addText('Door code', '4711'));
  await first.click('nav-recover');
  await first.find('enrol-safe').nth(4).uncheck();
  const name = await first.enrol('Emil', OLD);
  // From now on it is given to him only, by three of these four.
  const bound = await first.addText('Account key', SECRET);
  await first.startBackup(bound);
  await first.waitForState(bound, 'protected');
  await first.settledBook();
  await product.killSafe(2);
  await beginChange(first, 'change-safes', async () => {
    await first.fill('change-current', OLD);
    for (const box of await first.find('change-safe').all()) {
      await box.setChecked((await box.getAttribute('data-safe')) !== 'safe-2');
    }
  });
  await first.find('change', { leaving: 1, changing: false }).waitFor();
  await first.settledBook();
  const names = await first.find('owner-seats').locator('li').allTextContents();
  assert.ok(names.length === 4 && names.every((line) => !line.includes('safe-2')), names.join('; '));

  await product.startSafe(2);
  await first.click('nav-recover');
  await first.find('change', { leaving: 0 }).waitFor();
  await first.settledBook();

  // One of the others is gone now: without the safe that he has left there are too few.
  await product.killSafe(1);
  t.after(() => product.startSafe(1));
  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  assert.equal(await second.lookFor(name), 10);
  await second.comeBack(OLD);
  const door = await second.recoverableId('Door code');
  await second.recover(door);
  assert.equal(await second.reveal(door), '4711');
  const key = await second.recoverableId('Account key');
  await second.recover(key);
  assert.equal(await second.reveal(key), SECRET);
});

/** From here on each of these safes takes part in one change until it has proven it, and is out of reach then. */
async function stopWhenProven(wallet, urls) {
  for (const url of urls) {
    let [tries, proven] = [0, false];
    await wallet.page.context().route(`${url}/**`, (route) => {
      if (proven) return route.abort();
      const path = route.request().method() === 'POST' ? new URL(route.request().url()).pathname : '';
      // The first try is that of the passphrase of now, the second one of the enrolment that is staged.
      if (path.endsWith('/evaluate')) tries += 1;
      proven = tries === 2 && path.endsWith('/channel');
      return route.continue();
    });
  }
}

test('a change that a lost device has announced is taken over by another one', async (t) => {
  const lost = await Wallet.fresh(product);
  t.after(() => lost.close());
  await lost.create();
  await lost.addSafes();
  await lost.backUp(await lost.addText('Door code', '4711'));
  const name = await lost.enrol('Fritz', OLD);
  const [free, cut] = [product.safes.slice(0, 3), product.safes.slice(3)];
  await stopWhenProven(lost, cut);
  // Each safe is given its part, shows it, and is told what is announced.
  const told = new Map(free.map((url) => [url, 0]));
  const announced = new Promise((resolve) => {
    lost.page.context().on('response', (response) => {
      const { origin, pathname } = new URL(response.url());
      if (response.request().method() !== 'POST' || !told.has(origin) || !pathname.endsWith('/channel'))
        return;
      told.set(origin, told.get(origin) + 1);
      if ([...told.values()].every((times) => times >= 3)) resolve();
    });
  });
  await beginChange(lost, 'change-passphrase', async () => {
    await lost.fill('change-current', OLD);
    await lost.fill('change-new', NEW);
    await lost.fill('change-again', NEW);
  });
  await announced;
  await lost.find('change-cancel').waitFor({ state: 'detached' });
  await lost.page.goto('about:blank');

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(OLD);
  await second.click('nav-recover');
  await second.find('change-elsewhere').waitFor();
  assert.equal(
    await second.find('change-passphrase').count(),
    0,
    'nothing is changed beside the other change',
  );
  await second.click('change-instead');
  const last = 'nobody has painted the bridge in green';
  await beginChange(second, 'change-passphrase', async () => {
    await second.fill('change-current', OLD);
    await second.fill('change-new', last);
    await second.fill('change-again', last);
  });
  await changed(second);
  await second.settledBook();

  const third = await Wallet.fresh(product);
  t.after(() => third.close());
  await third.create('one more wallet altogether');
  await third.lookFor(name);
  await third.comeBack(NEW, 'wrong-passphrase');
  await third.comeBack(last);
  const door = await third.recoverableId('Door code');
  await third.recover(door);
  assert.equal(await third.reveal(door), '4711');
  // The device that was lost turns up: what it had begun is over.
  await lost.page.context().unrouteAll();
  await lost.page.goto(product.page);
  await lost.unlock();
  await lost.click('nav-recover');
  await lost.find('owner-superseded').waitFor();
  // A passkey that is added there brings back what is in force, of which this device has only heard.
  await lost.plug();
  await lost.openReturning();
  await lost.addDevice('the green key', last);
  await lost.openAnother('fourth');
  await lost.create('a wallet for the passkey');
  await lost.returnByDevice();
  const fourth = await lost.recoverableId('Door code');
  await lost.recover(fourth);
  assert.equal(await lost.reveal(fourth), '4711');
});

/**
 * One of these safes has a change in force, and the others have been told of it and no more: what is said to them after their part in it and the
 * announcement does not arrive. Gives what resolves when it is so.
 */
async function stopWhenOneCommits(wallet, [first, ...others]) {
  for (const url of others) {
    let [tries, told] = [0, 0];
    await wallet.page.context().route(`${url}/**`, (route) => {
      const path = route.request().method() === 'POST' ? new URL(route.request().url()).pathname : '';
      if (path.endsWith('/evaluate')) tries += 1;
      // It proves its part, and takes the head that announces the change.
      if (tries === 2 && path.endsWith('/channel')) told += 1;
      return tries > 2 || told > 2 ? route.abort() : route.continue();
    });
  }
  let tries = 0;
  return wallet.page.context().waitForEvent('response', {
    // The first try is that of the passphrase of now, the second one of what is staged, the third one of what is in force.
    predicate: (response) => {
      const { origin, pathname } = new URL(response.url());
      if (response.request().method() === 'POST' && origin === first && pathname.endsWith('/evaluate'))
        tries += 1;
      return tries === 3;
    },
  });
}

test('a device that was lost when one safe had its change in force is shut out at the others', async (t) => {
  const lost = await Wallet.fresh(product);
  t.after(() => lost.close());
  await lost.create();
  await lost.addSafes();
  await lost.backUp(await lost.addText('Door code', '4711'));
  const name = await lost.enrol('Gerda', OLD);
  const committed = stopWhenOneCommits(lost, product.safes);
  await beginChange(lost, 'change-passphrase', async () => {
    await lost.fill('change-current', OLD);
    await lost.fill('change-new', NEW);
    await lost.fill('change-again', NEW);
  });
  await committed;
  await lost.page.goto('about:blank');

  const second = await Wallet.fresh(product);
  t.after(() => second.close());
  await second.create('another wallet altogether');
  await second.lookFor(name);
  await second.comeBack(OLD);
  await second.openReturning();
  const last = 'nobody has painted the bridge in green';
  await second
    .find('credential-row', { kind: 'wallet', mine: false })
    .getByTestId('credential-revoke')
    .click();
  await second.revoke('', OLD, undefined, last);
  await second.click('nav-recover');
  await changed(second);
  await second.settledBook();
  assert.equal(await second.find('owner-seats').getByRole('listitem').count(), 4, 'one of five is left out');

  const third = await Wallet.fresh(product);
  t.after(() => third.close());
  await third.create('one more wallet altogether');
  await third.lookFor(name);
  await third.comeBack(OLD, 'wrong-passphrase');
  await third.comeBack(last);
  const door = await third.recoverableId('Door code');
  await third.recover(door);
  assert.equal(await third.reveal(door), '4711');
});
