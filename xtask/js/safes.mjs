// Runs the safes of this machine in real workerd, and serves the page.
//
// `cargo xtask` starts this script and writes one JSON line to its input: where the worker lies, and for each safe its
// name, port, directory and keys. Each safe is a workerd process of its own, so that one can be stopped while the
// others go on, as five safes in five places would. When the input ends, so does everything: whoever started us
// is gone.
//
// Further lines are commands for single safes, answered by a line with the same id:
//   {"id": 1, "do": "stop", "safe": 2}     ends safe 2 (counted from 1) in the ordinary way
//   {"id": 2, "do": "kill", "safe": 2}     ends it by SIGKILL
//   {"id": 3, "do": "start", "safe": 2}    starts it again with the same state and address
//   {"id": 3, "do": "start", "safe": 2, "port": 4700}    the same behind another port, to put something in between
import { AsyncLocalStorage } from 'node:async_hooks';
import childProcess from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { servePage } from './page.mjs';

/** The newest date that the pinned workerd knows; wrangler.toml says the same. */
const COMPATIBILITY_DATE = '2026-04-20';

// Miniflare does not tell its processes. Whoever wants to kill one, or to leave none behind, has to watch the starts.
const starting = new AsyncLocalStorage();
const running = new Set();
const spawn = childProcess.spawn;
childProcess.spawn = (...args) => {
  const child = spawn(...args);
  running.add(child);
  child.once('exit', () => running.delete(child));
  starting.getStore()?.onProcess(child);
  return child;
};
// For an end in haste. What a safe has answered for is on the disk, so killing is no loss.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

class Safe {
  #settings;
  #worker;
  #miniflare;
  #process;

  constructor(settings, worker) {
    this.#settings = settings;
    this.#worker = worker;
  }

  get line() {
    const { name, url, id } = this.#settings;
    return `${name}  ${url}  ${id}`;
  }

  async start({ port = this.#settings.port } = {}) {
    if (this.#miniflare) throw new Error(`${this.#settings.name} is running already`);
    const { name, url, dir, chain, relays, secrets } = this.#settings;
    this.#miniflare = starting.run(this, () => {
      return new Miniflare({
        // Part of the path of the state, so it must not differ from start to start.
        name: 'safe',
        log: new Log(LogLevel.WARN),
        cf: false,
        telemetry: { enabled: false },
        modulesRoot: this.#worker,
        modules: [
          { type: 'ESModule', path: `${this.#worker}/index.js` },
          { type: 'CompiledWasm', path: `${this.#worker}/index_bg.wasm` },
        ],
        compatibilityDate: COMPATIBILITY_DATE,
        unsafeDirectSockets: [{ host: '127.0.0.1', port }],
        kvNamespaces: { BLOBS: 'blobs' },
        kvPersist: `${dir}/kv`,
        durableObjects: {
          DEPOSITS: { className: 'DepositObject', useSQLite: true },
          ACCOUNTS: { className: 'AccountObject', useSQLite: true },
          OPERATOR: { className: 'OperatorObject', useSQLite: true },
          OWNERS: { className: 'OwnerObject', useSQLite: true },
        },
        durableObjectsPersist: `${dir}/objects`,
        bindings: {
          SAFE_NAME: name,
          SAFE_URL: url,
          SAFE_CLOUD: 'this machine',
          CHAIN: chain,
          RELAYS: relays,
          ...secrets,
        },
      });
    });
    takeSignals();
    await this.#miniflare.ready;
  }

  async stop() {
    const miniflare = this.#miniflare;
    this.#miniflare = undefined;
    await miniflare?.dispose();
  }

  async kill() {
    const miniflare = this.#miniflare;
    if (!miniflare) throw new Error(`${this.#settings.name} is not running`);
    this.#miniflare = undefined;
    const gone = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await gone;
    await miniflare.dispose();
  }

  onProcess(child) {
    this.#process = child;
    child.once('exit', async (code, signal) => {
      // A signal to the whole group reaches the child first; ours is then on its way.
      await setTimeout(100);
      // Stopping forgets the instance first, so whoever is still there did not mean to end.
      if (this.#miniflare && child === this.#process && !ending) {
        console.error(`${this.#settings.name} stopped by itself (${signal ?? code}); the others go on`);
      }
    });
  }
}

let safes = [];
let ending;

function end(code) {
  ending ??= Promise.allSettled(safes.map((safe) => safe.stop())).then(() => process.exit(code));
  return ending;
}

/** Ends in order on a signal. Miniflare's own handlers would exit at once and leave dead children to the system. */
function takeSignals() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.removeAllListeners(signal);
    process.on(signal, () => end(0));
  }
}

async function obey({ do: verb, safe: number, port }) {
  const safe = safes[number - 1];
  if (!safe) throw new Error(`there is no safe ${number}`);
  if (!['start', 'stop', 'kill'].includes(verb)) throw new Error(`there is no command ${verb}`);
  await safe[verb]({ port });
}

async function start({ worker, safes: settings, page }) {
  safes = settings.map((one) => new Safe(one, worker));
  await Promise.all(safes.map((safe) => safe.start()));
  if (page) await servePage(page);
  for (const safe of safes) console.log(safe.line);
  if (page) console.log(`page  ${page.url}`);
  console.log('ready');
}

takeSignals();
// Nobody reads any more; that is no reason to leave workerd behind.
process.stdout.on('error', () => end(1));

const lines = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
let started = false;
lines.on('line', async (line) => {
  if (!started) {
    started = true;
    try {
      await start(JSON.parse(line));
    } catch (error) {
      console.error(`the safes did not start: ${error.message}`);
      end(1);
    }
    return;
  }
  let id;
  try {
    const command = JSON.parse(line);
    id = command.id;
    await obey(command);
    console.log(JSON.stringify({ id, ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ id, ok: false, error: error.message }));
  }
});
lines.on('close', () => end(0));
