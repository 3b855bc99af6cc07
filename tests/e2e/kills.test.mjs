// Thirty times the power goes, for the browser and for one of the safes at once, somewhere in the middle of a registration, a move, or a
// recovery; in the end every value is where it should be. STRONGROOM_KILL_SEED repeats a run's moments.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noise, Product, Wallet } from './harness.mjs';

const ROUNDS = 6;
const SAFES = 5;
/** Any three bring a value back. */
const NEEDED = 3;

let product;
before(async () => {
  product = await Product.start({ safes: SAFES });
});
after(() => product.stop());

/** What is done to a value, one after the other; requests to safes that it takes at least; where the value stands then. */
const steps = [
  { name: 'move', begin: (wallet, id) => backUp(wallet, id, true), requests: 2 * SAFES, state: 'moved' },
  { name: 'bring back', begin: press('bring-back'), requests: NEEDED + SAFES, state: 'local-only' },
  {
    name: 'register',
    begin: (wallet, id) => backUp(wallet, id, false),
    requests: 2 * SAFES,
    state: 'protected',
  },
  {
    name: 'move after a trial',
    begin: press('move-start', 'move-confirm'),
    requests: NEEDED,
    state: 'moved',
  },
  { name: 'recover', begin: press('recover-start'), requests: NEEDED, state: 'protected' },
];

function press(...buttons) {
  return async (wallet, id) => {
    await wallet.openValue(id);
    for (const button of buttons) await wallet.click(button);
  };
}

async function backUp(wallet, id, moving) {
  await press('backup-start')(wallet, id);
  if (moving) await wallet.click('backup-move');
  await wallet.click('backup-submit');
}

/** Resolves when the page has sent so many requests to safes. */
function sent(wallet, requests) {
  let left = requests;
  return new Promise((resolve) => {
    wallet.page.on('request', (request) => {
      if (!product.safes.some((safe) => request.url().startsWith(`${safe}/v1/deposits/`))) return;
      left -= 1;
      if (left === 0) resolve();
    });
  });
}

/** The state, and that nothing is under way any more. */
async function settled(wallet, id, state) {
  await wallet.waitForState(id, state);
  await wallet.openValue(id);
  await wallet.find('progress-safe').first().waitFor({ state: 'detached' });
}

test('a write that a power cut tears costs nothing that was written before it or is written after it', async (t) => {
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  const values = new Map();
  for (const text of ['first', 'second', 'third']) {
    values.set(await wallet.addText(text, text), text);
    await wallet.kill();
    await wallet.tearLastWrite();
    await wallet.reopen();
    await wallet.wake();
  }
  for (const [id, text] of values) assert.equal(await wallet.reveal(id), text);
});

test('browser and safes are killed thirty times, and every value is there in the end', async (t) => {
  const seed = Number(process.env.STRONGROOM_KILL_SEED ?? 1 + Math.floor(Math.random() * 2 ** 30));
  t.diagnostic(`STRONGROOM_KILL_SEED=${seed}`);
  const random = noise(2 * ROUNDS * steps.length, seed);
  const wallet = await Wallet.fresh(product);
  t.after(() => wallet.close());
  await wallet.create();
  await wallet.addSafes();
  const values = new Map();
  let kills = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const text = `ticket ${round}`;
    const id = await wallet.addText(`Ticket ${round}`, text);
    values.set(id, text);
    for (const { name, begin, requests, state } of steps) {
      const [moment, safe] = [1 + (random[2 * kills] % requests), 1 + (random[2 * kills + 1] % SAFES)];
      const when = `kill ${kills + 1}: ${name} of ${id}, at request ${moment}, with safe ${safe}`;
      const reached = sent(wallet, moment);
      await begin(wallet, id);
      await reached;
      await Promise.all([wallet.kill(), product.killSafe(safe)]);
      kills += 1;
      try {
        await product.startSafe(safe);
        await wallet.reopen();
        const trouble = await wallet.wake();
        if (trouble) t.diagnostic(`${when}: the page had to be loaded again:\n${trouble}`);
        await settled(wallet, id, state);
      } catch (error) {
        throw new Error(`${when}: ${error.message}\nThe page shows:\n${await wallet.shows()}`, {
          cause: error,
        });
      }
    }
  }
  assert.equal(kills, 30);
  for (const [id, text] of values) assert.equal(await wallet.reveal(id), text);
});
