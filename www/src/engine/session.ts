/**
 * The wallet as the page has it open: its status and newest view, and idle locking. No secret lives here.
 */
import type { Engine, ValueView, WalletStatus, WalletView } from './api.ts';
import { openEngine } from './bridge.ts';
import { EngineError, toEngineError } from './errors.ts';

const IDLE_MS = 10 * 60_000;

/**
 * That there is a wallet, kept where a browser that clears the wallet may not clear: a name, nothing more. Pages may not be allowed to keep even
 * that; then an emptied wallet looks like a new one.
 */
const traces = {
  has(name: string): boolean {
    try {
      return localStorage.getItem(`strongroom:${name}`) !== null;
    } catch {
      return false;
    }
  },
  leave(name: string): void {
    try {
      localStorage.setItem(`strongroom:${name}`, '');
    } catch {
      // See above.
    }
  },
};

class Session extends EventTarget {
  status: WalletStatus | 'starting' | 'failed' = 'starting';
  view: WalletView | null = null;
  failure: EngineError | null = null;
  /** The lock page says so if nobody asked for the lock. */
  lockedByIdling = false;
  /** There was a wallet here, and the browser has cleared it. */
  emptied = false;
  /** Whether the browser promised not to clear the wallet; null until it is known. */
  persistent: boolean | null = null;

  #engine: Engine | undefined;
  #lastTouch = Date.now();
  /** Names the subscription that counts; the views of earlier ones are dropped. */
  #followed: object | undefined;
  readonly #saved = new Set<string>();
  #name = '';

  get engine(): Engine {
    if (this.#engine) return this.#engine;
    throw new EngineError({ code: 'starting', message: 'The wallet is still starting.', next: 'Try again.' });
  }

  async start(dbName: string): Promise<void> {
    this.#name = dbName;
    try {
      this.#engine = await openEngine(dbName, (error) => this.#fail(error));
      const status = await this.#engine.status();
      this.emptied = status === 'none' && traces.has(dbName);
      if (status === 'open') await this.#follow();
      else this.#become(status);
      this.#watchIdling();
    } catch (thrown) {
      this.#fail(toEngineError(thrown));
    }
  }

  async create(passphrase: string): Promise<void> {
    await this.engine.create(passphrase);
    if ((await this.engine.status()) !== 'open') await this.engine.unlock(passphrase);
    await this.#follow();
    await this.askForPersistence();
  }

  async unlock(passphrase: string): Promise<void> {
    await this.engine.unlock(passphrase);
    await this.#follow();
  }

  async unlockWithPasskey(id: string, output: Uint8Array): Promise<void> {
    await this.engine.unlockWithPasskey(id, output);
    await this.#follow();
  }

  async lock(byIdling = false): Promise<void> {
    // The page forgets first: nothing may stay on screen because the engine is slow to answer.
    this.#close(byIdling);
    await this.engine.lock();
  }

  /**
   * Values backed up since the unlock whose certificates are in no file yet, as far as this page has seen. What was moved has nothing else that
   * would bring it back on another device.
   */
  get unsaved(): ValueView[] {
    return (this.view?.values ?? []).filter(
      ({ backup, state }) =>
        backup !== null && (state === 'protected' || state === 'moved') && !this.#saved.has(backup.id),
    );
  }

  /** The certificates of these values came from a file, or went into one. */
  saved(values: ValueView[]): void {
    for (const { backup } of values) if (backup) this.#saved.add(backup.id);
    this.dispatchEvent(new Event('change'));
  }

  /** Hears of every error; one of them means that the engine has locked itself. */
  notice(error: EngineError): void {
    if (error.code === 'locked' && this.status === 'open') this.#close();
  }

  /** Browsers offer this to pages, not to workers, so the engine cannot ask itself. */
  async askForPersistence(): Promise<boolean> {
    this.persistent = (await navigator.storage?.persist?.()) ?? false;
    this.dispatchEvent(new Event('change'));
    return this.persistent;
  }

  /** An operation that waits for a safe does not keep the wallet open: it is journalled and goes on after the next unlock. */
  get working(): boolean {
    return (
      this.view?.values.some(({ operation }) => operation !== null && operation.waiting === null) ?? false
    );
  }

  async #follow(): Promise<void> {
    const mine = {};
    this.#followed = mine;
    await this.engine.subscribe((view) => {
      // A view that was on its way when the wallet was locked must not open the page again.
      if (this.#followed !== mine) return;
      this.view = view;
      this.dispatchEvent(new Event('change'));
    });
    const first = await this.engine.view();
    // A view that was pushed meanwhile may be newer; were it older, another one would follow it.
    this.view ??= first;
    this.saved(this.view.values);
    this.persistent = this.view.storagePersistent;
    this.#lastTouch = Date.now();
    this.emptied = false;
    traces.leave(this.#name);
    this.#become('open');
  }

  #close(byIdling = false): void {
    this.lockedByIdling = byIdling;
    this.#followed = undefined;
    this.view = null;
    this.#become('locked');
  }

  #become(status: WalletStatus): void {
    this.status = status;
    this.dispatchEvent(new Event('change'));
  }

  #fail(error: EngineError): void {
    this.failure = error;
    this.status = 'failed';
    this.#followed = undefined;
    this.view = null;
    this.dispatchEvent(new Event('change'));
  }

  #watchIdling(): void {
    const touched = () => {
      this.#lastTouch = Date.now();
    };
    for (const type of ['pointerdown', 'keydown', 'wheel']) {
      addEventListener(type, touched, { capture: true, passive: true });
    }
    // Compares times instead of counting one long timer down: timers stand still while a laptop sleeps.
    setInterval(() => {
      if (this.status !== 'open') return;
      if (this.working) touched();
      else if (Date.now() - this.#lastTouch > IDLE_MS) {
        this.lock(true).catch((thrown) => this.#fail(toEngineError(thrown)));
      }
    }, 10_000);
  }
}

export const session = new Session();
