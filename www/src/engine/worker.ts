/**
 * The worker's end: loads the WebAssembly engine and answers the page's calls. Conversions only; decisions live in the engine.
 */
import { expose, transfer, wrap } from 'comlink';
import init, { stretch, Engine as Wasm } from 'wallet-wasm';
import type { BackupOptions, Case, Engine, Given, NewValue, Renewal, Rule, WalletView } from './api.ts';
import { carryEngineErrors } from './errors.ts';
import type { Estimate } from './guesses.ts';
import { trust } from './trusted.ts';
import { Windows } from './windows.ts';

let opened: Awaited<ReturnType<typeof Wasm.open>> | undefined;

function engine(): NonNullable<typeof opened> {
  if (!opened) throw new Error('the engine was called before it was opened');
  return opened;
}

let windows: Windows | undefined;

/** What the owner does here makes this the window that works: progress is seen, and what he gives is needed, where the work is done. */
function here<A extends unknown[], R>(work: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
  return async (...args) => {
    await windows?.lead();
    return work(...args);
  };
}

/** Hands the bytes over instead of copying them, so that no second copy stays behind in the worker. */
async function handOver(bytes: Promise<Uint8Array>): Promise<Uint8Array> {
  const own = await bytes;
  return transfer(own, [own.buffer]);
}

/** The engine wipes what it takes; this one sees to it that nothing stays if it never gets that far. */
async function wiping(bytes: Uint8Array, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } finally {
    bytes.fill(0);
  }
}

type Stretch = (...args: Parameters<typeof stretch>) => Promise<ReturnType<typeof stretch>>;

let ownScript: string | undefined;

/**
 * Argon2id takes 64 MiB, and a wasm memory never shrinks. A second worker of this script does that one thing and ends, which gives the
 * memory back and keeps this one at its work.
 */
const stretchElsewhere: Stretch = async (...args) => {
  ownScript ??= trust(location.href);
  const worker = new Worker(ownScript, { type: 'module', name: 'strongroom-stretch' });
  try {
    // If its script cannot be fetched, offline perhaps, the work is done here: better with more memory than not at all.
    const here = new Promise<ReturnType<typeof stretch>>((resolve) => {
      worker.addEventListener('error', () => resolve(stretch(...args)), { once: true });
    });
    return await Promise.race([wrap<Host>(worker).stretch(...args), here]);
  } finally {
    worker.terminate();
  }
};

const host = {
  async open(dbName: string): Promise<void> {
    await init();
    opened = await Wasm.open(dbName, stretchElsewhere);
    // Without locks, in an insecure context, every window works; the store keeps them apart.
    if (!navigator.locks) return;
    await opened.setLeading(false);
    windows = new Windows(dbName, opened);
  },

  /** For the worker that is there only for this. */
  async stretch(...args: Parameters<Stretch>): ReturnType<Stretch> {
    await init();
    return stretch(...args);
  },

  /** For the worker that is there only for this. */
  estimate: async (passphrase: string, known: string[]) =>
    (await import('./guesses.ts')).estimate(passphrase, known),

  status: () => engine().status(),
  async create(passphrase: string): Promise<void> {
    await engine().create(passphrase);
    await windows?.enter();
  },
  async unlock(passphrase: string): Promise<void> {
    await engine().unlock(passphrase);
    await windows?.enter();
  },
  passkeys: () => engine().passkeys(),
  async unlockWithPasskey(id: string, output: Uint8Array): Promise<void> {
    await engine().unlockWithPasskey(id, output);
    await windows?.enter();
  },
  addPasskey: (id: string, salt: string, output: Uint8Array, label: string) =>
    wiping(output, () => here(() => engine().addPasskey(id, salt, output, label))()),
  removePasskey: here((id: string) => engine().removePasskey(id)),
  async lock(): Promise<void> {
    engine().lock();
    windows?.leave();
  },
  view: () => engine().view(),
  // The listener is a comlink proxy; the engine gets a plain function that tells how long the page took, and a page that has gone away is no
  // error of the engine.
  subscribe: async (listener: (view: WalletView) => unknown) =>
    engine().subscribe((view) => Promise.resolve(listener(view)).catch(() => undefined)),

  probeSafe: (url: string) => engine().probeSafe(url),
  addSafe: here((url: string, id: string, nickname: string, token: string) =>
    engine().addSafe(url, id, nickname, token),
  ),
  setToken: here((id: string, token: string) => engine().setToken(id, token)),
  retireSafe: here((from: string, to: string) => engine().retireSafe(from, to)),
  keepSafe: here((id: string) => engine().keepSafe(id)),
  removeSafe: here((id: string) => engine().removeSafe(id)),

  addValue: here((meta: NewValue, content: Uint8Array) => engine().addValue(meta, content)),
  changeValue: here((id: string, meta: NewValue, content?: Uint8Array) =>
    engine().changeValue(id, meta, content),
  ),
  reveal: (id: string) => handOver(engine().reveal(id)),
  removeValue: here((id: string) => engine().removeValue(id)),
  setRules: here((rules: Rule[]) => engine().setRules(rules)),
  previewRule: (rule: Rule) => engine().previewRule(rule),
  followRules: here((id: string) => engine().followRules(id)),
  setCapacity: here((bytes: number | null) => engine().setCapacity(bytes)),
  giveUpRoom: here(() => engine().giveUpRoom()),

  parsePlan: (text: string) => engine().parsePlan(text),
  analysePlan: (text: string, values: string[], { gone = [], curious = [], availability = {} }: Case = {}) =>
    engine().analysePlan(
      text,
      values,
      gone,
      curious,
      Object.keys(availability),
      new Float64Array(Object.values(availability)),
    ),
  backup: here((values: string[], plan: string, { words, readable, hint, moving }: BackupOptions = {}) =>
    engine().backup(values, plan, words, readable ?? false, hint, moving ?? false),
  ),
  pieceFile: (id: string) => handOver(engine().pieceFile(id)),
  pieceFileSaved: here((id: string, file: Uint8Array) => engine().pieceFileSaved(id, file)),
  audit: here((id: string | null) => engine().audit(id)),
  recover: here((ids: string[], { words, file }: Given = {}) => engine().recover(ids, words, file)),
  carriers: here((id: string) => engine().carriers(id)),
  recoverThrough: here((id: string, safe: string) => engine().recoverThrough(id, safe)),
  moveOut: here((id: string) => engine().moveOut(id)),
  bringBack: here((id: string) => engine().bringBack(id)),
  takeOver: here((id: string) => engine().takeOver(id)),
  drill: here((id: string) => engine().drill(id)),
  renew: here((id: string, { words, replace = [] }: Renewal = {}) =>
    engine().renew(
      id,
      words,
      replace.map(({ from }) => from),
      replace.map(({ to }) => to),
    ),
  ),
  cancel: here((id: string) => engine().cancel(id)),
  release: here((id: string) => engine().release(id)),
  retry: here(() => engine().retry()),

  exportCertificates: (ids: string[], passphrase: string) =>
    handOver(engine().exportCertificates(ids, passphrase)),
  enrol: here((handle: string, passphrase: string, threshold: number, safes: string[], label: string) =>
    engine().enrol(handle, passphrase, threshold, safes, label),
  ),
  changeOwner: here(
    (current: string, passphrase: string | null, threshold: number, safes: string[], instead: boolean) =>
      engine().changeOwner(current, passphrase ?? undefined, threshold, safes, instead),
  ),
  cancelChange: here(() => engine().cancelChange()),
  forgetLeaving: here((safeId: string) => engine().forgetLeaving(safeId)),
  renewExposed: here(() => engine().renewExposed()),
  lookForOwner: (name: string, addresses: string[]) => engine().lookForOwner(name, addresses),
  lookWithKit: (text: string) => engine().lookWithKit(text),
  lookForDevice: (handle: Uint8Array, addresses: string[]) => engine().lookForDevice(handle, addresses),
  deviceInput: async () => engine().deviceInput(),
  comeBackWithDevice: here((output: Uint8Array, label: string) => engine().comeBackWithDevice(output, label)),
  comeBack: here((passphrase: string, label: string) => engine().comeBack(passphrase, label)),
  listPast: here((passphrase: string) => engine().listPast(passphrase)),
  listPastWithDevice: here((output: Uint8Array) => engine().listPastWithDevice(output)),
  goBack: here((which: number, exactly: boolean, label: string) => engine().goBack(which, exactly, label)),
  credentials: () => engine().credentials(),
  revoke: here((credential: string, passphrase: string) => engine().revoke(credential, passphrase)),
  deviceLost: here((credential: string, passphrase: string, next: string | null) =>
    engine().deviceLost(credential, passphrase, next ?? undefined),
  ),
  forgetTries: here((passphrase: string) => engine().forgetTries(passphrase)),
  makeKit: here((passphrase: string) => engine().makeKit(passphrase)),
  confirmKit: here((code: string) => engine().confirmKit(code)),
  beginDevice: here((passphrase: string) => engine().beginDevice(passphrase)),
  endDevice: here(() => Promise.resolve(engine().endDevice())),
  renewDevice: here((credential: string, handle: Uint8Array, output: Uint8Array) =>
    engine().renewDevice(credential, handle, output),
  ),
  addDevice: here((output: Uint8Array, label: string) => engine().addDevice(output, label)),
  importCertificates: here((file: Uint8Array, passphrase: string) =>
    engine().importCertificates(file, passphrase),
  ),
  certificate: (depositId: string) => handOver(engine().certificate(depositId)),
  dropExhibit: here((depositId: string) => engine().dropExhibit(depositId)),
  examine: (files: Uint8Array[], ask: boolean) => engine().examine(files, ask),
} satisfies Omit<Engine, 'plan'> & {
  open(dbName: string): Promise<void>;
  stretch: Stretch;
  estimate(passphrase: string, known: string[]): Promise<Estimate>;
  parsePlan: Engine['plan']['parse'];
  analysePlan: Engine['plan']['analyse'];
};

export type Host = typeof host;

carryEngineErrors();
expose(host);
