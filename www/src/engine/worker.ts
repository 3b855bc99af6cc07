/**
 * The worker's end: loads the WebAssembly engine and answers the page's calls. Conversions only; decisions live in the engine.
 */
import { expose, transfer } from 'comlink';
import init, { Engine as Wasm } from 'wallet-wasm';
import type { Engine, NewValue, WalletView } from './api.ts';
import { carryEngineErrors } from './errors.ts';

let opened: Awaited<ReturnType<typeof Wasm.open>> | undefined;

function engine(): NonNullable<typeof opened> {
  if (!opened) throw new Error('the engine was called before it was opened');
  return opened;
}

/** Hands the bytes over instead of copying them, so that no second copy stays behind in the worker. */
async function handOver(bytes: Promise<Uint8Array>): Promise<Uint8Array> {
  const own = await bytes;
  return transfer(own, [own.buffer]);
}

const host = {
  async open(dbName: string): Promise<void> {
    await init();
    opened = await Wasm.open(dbName);
  },

  status: () => engine().status(),
  create: (passphrase: string) => engine().create(passphrase),
  unlock: (passphrase: string) => engine().unlock(passphrase),
  lock: async () => engine().lock(),
  view: () => engine().view(),
  // The listener is a comlink proxy; the engine gets a plain function, and a page that has gone away is no error of the engine.
  subscribe: async (listener: (view: WalletView) => unknown) =>
    engine().subscribe((view) => {
      Promise.resolve(listener(view)).catch(() => undefined);
    }),

  probeSafe: (url: string) => engine().probeSafe(url),
  addSafe: (url: string, id: string, nickname: string) => engine().addSafe(url, id, nickname),
  removeSafe: (id: string) => engine().removeSafe(id),

  addValue: ({ title, kind, fileName, mime }: NewValue, content: Uint8Array) =>
    engine().addValue(title, kind, fileName, mime, content),
  reveal: (id: string) => handOver(engine().reveal(id)),
  removeValue: (id: string) => engine().removeValue(id),

  register: (id: string, safeIds: string[], threshold: number) => engine().register(id, safeIds, threshold),
  recover: (id: string) => engine().recover(id),
  release: (id: string) => engine().release(id),
  retry: () => engine().retry(),

  exportCertificates: (ids: string[], passphrase: string) =>
    handOver(engine().exportCertificates(ids, passphrase)),
  importCertificates: (file: Uint8Array, passphrase: string) => engine().importCertificates(file, passphrase),
  certificate: (depositId: string) => handOver(engine().certificate(depositId)),
} satisfies Engine & { open(dbName: string): Promise<void> };

export type Host = typeof host;

carryEngineErrors();
expose(host);
