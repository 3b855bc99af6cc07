// The safe's entry in workerd: hands requests to the wasm module and survives its panics.
//
// wasm-bindgen is asked (see xtask/src/build.rs) for a module that notices a trap and makes itself a fresh
// instance before the next call. Two things are left to this file: a Durable Object that was made by the old
// instance has to be made anew, and whoever waited for the old instance has to be told, for a future that
// panicked never settles.
import { DurableObject, WorkerEntrypoint } from 'cloudflare:workers';
import * as wasm from './index.js';

/** Rejecters of the calls that are under way. */
const waiting = new Set();

// A panic inside a future surfaces here and nowhere else.
addEventListener('error', (event) => {
  if (!(event.error instanceof WebAssembly.RuntimeError)) return;
  for (const fail of waiting) fail(event.error);
  waiting.clear();
});

/** Settles like `call()`, or rejects when the wasm instance stops under it. */
async function outlive(call) {
  let fail;
  const stopped = new Promise((_, reject) => {
    fail = reject;
  });
  waiting.add(fail);
  try {
    return await Promise.race([call(), stopped]);
  } finally {
    waiting.delete(fail);
  }
}

/** The Durable Object of a class on the wasm side, which holds nothing that its storage does not. */
function objectOf(name) {
  return class extends DurableObject {
    #object;
    #instance;

    #live() {
      const { instanceId } = wasm.__worker_init_state();
      if (this.#instance !== instanceId) {
        this.#object = new wasm[name](this.ctx, this.env);
        this.#instance = instanceId;
      }
      return this.#object;
    }

    fetch(request) {
      return outlive(() => this.#live().fetch(request));
    }

    alarm() {
      return outlive(() => this.#live().alarm());
    }
  };
}

export const DepositObject = objectOf('DepositObject');
export const AccountObject = objectOf('AccountObject');
export const OperatorObject = objectOf('OperatorObject');
export const OwnerObject = objectOf('OwnerObject');

export default class extends WorkerEntrypoint {
  async fetch(request) {
    try {
      return await outlive(() => wasm.fetch(request, this.env, this.ctx));
    } catch (error) {
      console.error('the safe failed in the middle of a request:', error);
      return Response.json(
        {
          type: 'about:blank',
          title: 'Internal Server Error',
          status: 500,
          detail: 'The safe failed in the middle of this request. Send it again.',
        },
        {
          status: 500,
          headers: {
            'content-type': 'application/problem+json',
            'access-control-allow-origin': '*',
          },
        },
      );
    }
  }
}
