// Runs in a worker in Chromium: single operations of the wallet beside named peers, in turns, so that whatever else the machine does
// strikes both alike. Answers with [{name, ours, peer?, amount}], times in milliseconds.
import { combine as peerCombine, split as peerSplit } from 'shamir-secret-sharing';
import init, { combine, disperse, seal, split } from './bench_wasm.js';

const RUNS = 9;
const MIB = 1024 * 1024;
const BULK = 16;
/** Bytes per call, for both. */
const CHUNK = 256 * 1024;
/** Operations that take microseconds are timed by the thousand. */
const MANY = 1000;

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Times `ours` and `peer` in turns, after one turn that does not count. */
async function inTurns(ours, peer) {
  const times = { ours: [], peer: [] };
  for (let run = 0; run <= RUNS; run += 1) {
    for (const [who, work] of Object.entries({ ours, peer })) {
      if (!work) continue;
      const start = performance.now();
      await work();
      if (run > 0) times[who].push(performance.now() - start);
    }
  }
  return { ours: median(times.ours), peer: peer && median(times.peer) };
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
  const add = async (name, amount, ours, peer) =>
    results.push({ name, amount, ...(await inTurns(ours, peer)) });
  await add(
    'seal',
    BULK,
    () => seal(content),
    async () => {
      for (let at = 0; at < content.length; at += CHUNK) {
        await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, content.subarray(at, at + CHUNK));
      }
    },
  );
  await add('disperse', BULK, () => disperse(content, 3, 5));

  const shares = split(secret, 3, 5);
  const peerShares = await peerSplit(secret, 5, 3);
  await add(
    'split',
    MANY,
    () => {
      for (let i = 0; i < MANY; i += 1) split(secret, 3, 5);
    },
    async () => {
      for (let i = 0; i < MANY; i += 1) await peerSplit(secret, 5, 3);
    },
  );
  const three = shares.slice(0, 3 * 33);
  await add(
    'combine',
    MANY,
    () => {
      for (let i = 0; i < MANY; i += 1) combine(three, 33);
    },
    async () => {
      for (let i = 0; i < MANY; i += 1) await peerCombine(peerShares.slice(0, 3));
    },
  );
  return results;
}

measure().then(
  (results) => postMessage({ results }),
  (error) => postMessage({ error: String(error) }),
);
