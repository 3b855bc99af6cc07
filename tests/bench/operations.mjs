// Runs in a worker in Chromium: single operations of the wallet beside named peers, in turns, so that whatever else the machine does
// strikes all alike. Answers with [{name, amount, ours, peer?, whole?}], times in milliseconds.
import { combine as peerCombine, split as peerSplit } from 'shamir-secret-sharing';
import init, { combine, disperse, last_shards, seal, split, undisperse } from './bench_wasm.js';

const RUNS = 9;
const MIB = 1024 * 1024;
const BULK = 16;
/** Bytes per call, for both. */
const CHUNK = 256 * 1024;
/** One stripe of three shards. */
const STRIPE = 3 * 64 * 1024;
/** Operations that take microseconds are timed by the thousand. */
const MANY = 1000;

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Times each in turns, after one turn that does not count. */
async function inTurns(works) {
  const times = Object.fromEntries(Object.keys(works).map((who) => [who, []]));
  for (let run = 0; run <= RUNS; run += 1) {
    for (const [who, work] of Object.entries(works)) {
      const start = performance.now();
      await work();
      if (run > 0) times[who].push(performance.now() - start);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([who, all]) => [who, median(all)]));
}

async function measure() {
  await init();
  const content = new Uint8Array(BULK * MIB);
  for (let start = 0; start < content.length; start += 65_536) {
    crypto.getRandomValues(content.subarray(start, start + 65_536));
  }
  const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt']);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const secret = crypto.getRandomValues(new Uint8Array(32));

  const results = [];
  const add = async (name, amount, works) => results.push({ name, amount, ...(await inTurns(works)) });
  await add('seal', BULK, {
    ours: () => seal(content),
    peer: async () => {
      for (let at = 0; at < content.length; at += CHUNK) {
        await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, content.subarray(at, at + CHUNK));
      }
    },
    whole: () => crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, content),
  });
  // Only whole stripes are dispersed, so only they are counted.
  const whole = content.subarray(0, content.length - (content.length % STRIPE));
  await add('disperse', whole.length / MIB, { ours: () => disperse(whole, 3, 5) });

  const last = last_shards(whole, 3, 5);
  if (undisperse(last, 3, 5).some((byte, at) => byte !== whole[at]))
    throw new Error('the shards do not rebuild');
  await add('undisperse', whole.length / MIB, { ours: () => undisperse(last, 3, 5) });

  const shares = split(secret, 3, 5);
  const peerShares = await peerSplit(secret, 5, 3);
  await add('split', MANY, {
    ours: () => {
      for (let i = 0; i < MANY; i += 1) split(secret, 3, 5);
    },
    peer: async () => {
      for (let i = 0; i < MANY; i += 1) await peerSplit(secret, 5, 3);
    },
  });
  const three = shares.slice(0, 3 * 33);
  const peerThree = peerShares.slice(0, 3);
  // What does not give the secret back is not worth timing.
  for (const again of [combine(three, 33), await peerCombine(peerThree)]) {
    if (String(again) !== String(secret)) throw new Error('the shares do not give the secret');
  }
  await add('combine', MANY, {
    ours: () => {
      for (let i = 0; i < MANY; i += 1) combine(three, 33);
    },
    peer: async () => {
      for (let i = 0; i < MANY; i += 1) await peerCombine(peerThree);
    },
  });
  return results;
}

measure().then(
  (results) => postMessage({ results }),
  (error) => postMessage({ error: String(error) }),
);
