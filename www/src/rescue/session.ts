/**
 * The session of recover.html. It takes the place of `engine/session.ts`, so that the wallet's own components work here; it stores nothing, asks
 * for no storage, and ends with the tab.
 */

import wasm from 'rescue:wasm';
import script from 'rescue:worker';
import { proxy, type Remote, wrap } from 'comlink';
import type { WalletView } from '../engine/api.ts';
import { carryEngineErrors, EngineError, toEngineError } from '../engine/errors.ts';
import { timed } from '../engine/timed.ts';
import { trust } from '../engine/trusted.ts';
import type { RescueHost } from './worker.ts';

/** What the builder has packed. */
async function unpack(packed: string): Promise<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Response(plain).arrayBuffer();
}

class RescueSession extends EventTarget {
  view: WalletView | null = null;
  failure: EngineError | null = null;
  #engine: Remote<RescueHost> | undefined;

  get engine(): Remote<RescueHost> {
    if (this.#engine) return this.#engine;
    throw new EngineError({ code: 'starting', message: 'It is still starting.', next: 'Try again.' });
  }

  async start(): Promise<void> {
    carryEngineErrors();
    try {
      const [module, source] = await Promise.all([
        unpack(wasm).then((bytes) => WebAssembly.compile(bytes)),
        unpack(script),
      ]);
      // A script that is no file of its own: a browser gives a page from disk no other one.
      const own = new Blob([source], { type: 'text/javascript' });
      const worker = new Worker(trust(URL.createObjectURL(own)), { name: 'strongroom-rescue' });
      const broken = new Promise<never>((_, reject) => {
        worker.addEventListener('error', (event) => {
          const error = new EngineError({
            code: 'engine-failed',
            message: `It could not start or has stopped${event.message ? `: ${event.message}` : '.'}`,
            next: 'Reload the page, or open the file in another browser.',
          });
          reject(error);
          this.#fail(error);
        });
      });
      const remote = wrap<RescueHost>(worker);
      await Promise.race([remote.open(module, own), broken]);
      this.#engine = remote;
      await remote.subscribe(proxy(timed((view: WalletView) => this.#show(view))));
      this.#show(await remote.view());
    } catch (thrown) {
      this.#fail(toEngineError(thrown));
    }
  }

  /** Here is no lock that an error could tell of. */
  notice(_: EngineError): void {}

  /** Work does not go on without its tab: nothing of it is stored. */
  #show(view: WalletView): void {
    const values = view.values.map((value) =>
      value.operation ? { ...value, operation: { ...value.operation, mayClose: false } } : value,
    );
    this.view = { ...view, values };
    this.dispatchEvent(new Event('change'));
  }

  #fail(error: EngineError): void {
    this.failure = error;
    this.dispatchEvent(new Event('change'));
  }
}

export const session = new RescueSession();
