// Peak memory of a browser's page: how far the process that holds page and engine grew, from /proc.
import { readdir, readFile, writeFile } from 'node:fs/promises';

export class Peak {
  #pid;
  get pid() {
    return this.#pid;
  }
  #before;

  /** Begins to watch the greatest renderer below a browser's process. */
  static async begin(browser) {
    const peak = new Peak();
    const renderers = await renderersOf(browser);
    const sizes = await Promise.all(renderers.map((pid) => status(pid, 'VmRSS')));
    peak.#pid = renderers[sizes.indexOf(Math.max(...sizes))];
    // 5 resets the high-water mark to what is resident now (proc(5)).
    await writeFile(`/proc/${peak.#pid}/clear_refs`, '5');
    peak.#before = await status(peak.#pid, 'VmRSS');
    return peak;
  }

  /** Growth at its greatest, bytes. */
  async end() {
    return (await status(this.#pid, 'VmHWM')) - this.#before;
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
      if ((await readFile(`/proc/${name}/cmdline`, 'utf8')).includes('--type=renderer'))
        renderers.push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  const below = (pid) => pid === browser || (parents.has(pid) && below(parents.get(pid)));
  return renderers.filter(below);
}
