// Peak memory, looked at from two sides: what the worker's isolate holds (`Peak`), and what the process that holds page and worker takes
// from the system (`Resident`).
import { readdir, readFile, writeFile } from 'node:fs/promises';

/** The engine's own: script heap, arrays and wasm memory of its worker together. */
export class Peak {
  #session;
  #target;
  #answers = new Map();
  #lastId = 0;
  #greatest = 0;
  #ended = false;
  #watching;

  /** Begins to watch the worker of a page. */
  static async begin(page) {
    const peak = new Peak();
    await peak.#attach(page);
    peak.#watching = peak.#watch();
    return peak;
  }

  /** What it held at its greatest, bytes. */
  async end() {
    this.#ended = true;
    await this.#watching;
    // Wasm memory never shrinks, so what it has now was its greatest.
    this.#greatest += await this.#wasm();
    await this.#session.detach();
    return { greatest: this.#greatest };
  }

  async #attach(page) {
    this.#session = await page.context().newCDPSession(page);
    this.#session.on('Target.receivedMessageFromTarget', ({ message }) => {
      const { id, result } = JSON.parse(message);
      this.#answers.get(id)?.(result);
      this.#answers.delete(id);
    });
    const attached = new Promise((resolve) => {
      this.#session.on('Target.attachedToTarget', ({ sessionId, targetInfo }) => {
        if (targetInfo.type === 'worker') resolve(sessionId);
      });
    });
    const options = { autoAttach: true, waitForDebuggerOnStart: false, flatten: false };
    await this.#session.send('Target.setAutoAttach', options);
    this.#target = await attached;
  }

  // The engine answers between two of its tasks; while it works on one, its arrays are those that the task began with and one chunk.
  async #watch() {
    while (!this.#ended) this.#greatest = Math.max(this.#greatest, await this.#usage());
  }

  /** Script heap and arrays. */
  async #usage() {
    const { usedSize, backingStorageSize } = await this.#ask('Runtime.getHeapUsage');
    return usedSize + backingStorageSize;
  }

  /** Memory of all wasm modules. */
  async #wasm() {
    const prototype = await this.#ask('Runtime.evaluate', { expression: 'WebAssembly.Memory.prototype' });
    const { objects } = await this.#ask('Runtime.queryObjects', {
      prototypeObjectId: prototype.result.objectId,
    });
    const { result } = await this.#ask('Runtime.callFunctionOn', {
      objectId: objects.objectId,
      functionDeclaration:
        'function () { return this.reduce((sum, memory) => sum + memory.buffer.byteLength, 0); }',
    });
    return result.value;
  }

  async #ask(method, params = {}) {
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise((resolve) => this.#answers.set(id, resolve));
    const message = JSON.stringify({ id, method, params });
    await this.#session.send('Target.sendMessageToTarget', { sessionId: this.#target, message });
    return answer;
  }
}

/** All of the process: page and worker, and what the browser copies there on their behalf. */
export class Resident {
  #pid;
  #before;

  /** Begins to watch the greatest renderer below a browser's process. */
  static async begin(browser) {
    const resident = new Resident();
    const renderers = await renderersOf(browser);
    const sizes = await Promise.all(renderers.map((pid) => status(pid, 'VmRSS')));
    resident.#pid = renderers[sizes.indexOf(Math.max(...sizes))];
    // 5 resets the high-water mark to what is resident now (proc(5)).
    await writeFile(`/proc/${resident.#pid}/clear_refs`, '5');
    resident.#before = await status(resident.#pid, 'VmRSS');
    return resident;
  }

  /** How much more was resident at its greatest than at the beginning, bytes. */
  async end() {
    return { growth: (await status(this.#pid, 'VmHWM')) - this.#before };
  }
}

async function status(pid, field) {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(text)[1]) * 1024;
}

async function renderersOf(browser) {
  const parents = new Map();
  const renderers = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = await readFile(`/proc/${name}/status`, 'utf8');
      parents.set(Number(name), Number(/PPid:\s+(\d+)/.exec(text)[1]));
      const command = await readFile(`/proc/${name}/cmdline`, 'utf8');
      if (command.includes('--type=renderer')) renderers.push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  const below = (pid) => pid === browser || (parents.has(pid) && below(parents.get(pid)));
  return renderers.filter(below);
}
