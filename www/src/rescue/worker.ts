/**
 * The worker's end of recover.html: the engine with a wallet that is kept nowhere and only reads. Everything that it runs came with the file.
 */
import { expose, transfer, wrap } from 'comlink';
import init, { stretch, Engine as Wasm } from 'wallet-wasm';
import type { Given, WalletView } from '../engine/api.ts';
import { carryEngineErrors } from '../engine/errors.ts';
import { trust } from '../engine/trusted.ts';

type Stretch = (...args: Parameters<typeof stretch>) => Promise<ReturnType<typeof stretch>>;

let opened: ReturnType<typeof Wasm.openInMemory> | undefined;
let compiled: WebAssembly.Module | undefined;
let ownScript: Blob | undefined;
let address: string | undefined;

function engine(): NonNullable<typeof opened> {
  if (!opened) throw new Error('the engine was called before it was opened');
  return opened;
}

/** As in the wallet's own worker: Argon2id in a second one, which gives its memory back with its end. */
const stretchElsewhere: Stretch = async (...args) => {
  if (!compiled || !ownScript) throw new Error('the engine was called before it was opened');
  // Its address is not this worker's own: what comes from disk has no origin that a page and its worker would share.
  address ??= trust(URL.createObjectURL(ownScript));
  let worker: Worker;
  try {
    worker = new Worker(address, { name: 'strongroom-stretch' });
  } catch {
    // A browser may let no worker start another one from such an address: better with more memory than not at all.
    return stretch(...args);
  }
  try {
    const here = new Promise<ReturnType<typeof stretch>>((resolve) => {
      worker.addEventListener('error', () => resolve(stretch(...args)), { once: true });
    });
    return await Promise.race([wrap<RescueHost>(worker).stretch(compiled, args), here]);
  } finally {
    worker.terminate();
  }
};

const host = {
  /** Opens a wallet under a passphrase that nobody knows: what is in memory is sealed all the same. `script`: this worker's own. */
  async open(module: WebAssembly.Module, script: Blob): Promise<void> {
    compiled = module;
    ownScript = script;
    await init({ module_or_path: module });
    opened = Wasm.openInMemory(stretchElsewhere);
    await opened.create(`${crypto.randomUUID()} ${crypto.randomUUID()}`);
  },

  /** For the worker that is there only for this. */
  async stretch(module: WebAssembly.Module, args: Parameters<Stretch>): ReturnType<Stretch> {
    await init({ module_or_path: module });
    return stretch(...args);
  },

  view: () => engine().view(),
  subscribe: async (listener: (view: WalletView) => unknown) =>
    engine().subscribe((view) => Promise.resolve(listener(view)).catch(() => undefined)),
  lookForOwner: (name: string, addresses: string[]) => engine().lookForOwner(name, addresses),
  lookWithKit: (text: string) => engine().lookWithKit(text),
  comeBack: (passphrase: string) => engine().comeBack(passphrase, ''),
  listPast: (passphrase: string) => engine().listPast(passphrase),
  goBack: (which: number) => engine().goBack(which, true, ''),
  recover: (ids: string[], { words, file }: Given = {}) => engine().recover(ids, words, file),
  cancel: (id: string) => engine().cancel(id),
  retry: () => engine().retry(),
  /** Hands the bytes over instead of copying them. */
  async reveal(id: string): Promise<Uint8Array> {
    const own = await engine().reveal(id);
    return transfer(own, [own.buffer]);
  },
};

export type RescueHost = typeof host;

carryEngineErrors();
expose(host);
