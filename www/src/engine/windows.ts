/**
 * Of several windows of one wallet one works; the others follow it, and take its place when it closes. The window in which the owner does
 * something is the one that works from then on. A lock of the browser's says which it is: it goes with its window, however that ends.
 */

/** What the engine has for it. */
interface Follower {
  setLeading(leading: boolean): Promise<void>;
  follow(): Promise<void>;
  onCommit(tell: () => void): void;
}

/** A follower looks at most this often, milliseconds. */
const PAUSE_MS = 200;

export class Windows {
  readonly #name: string;
  readonly #engine: Follower;
  #open = false;
  #leading = false;
  /** Names the request for the lock that counts; those before it are void. */
  #turn = 0;
  #release: (() => void) | undefined;
  #behind = false;
  #following = false;

  constructor(name: string, engine: Follower) {
    this.#name = `strongroom ${name}`;
    this.#engine = engine;
    const channel = new BroadcastChannel(this.#name);
    channel.onmessage = () => {
      this.#behind = true;
      void this.#catchUp();
    };
    engine.onCommit(() => channel.postMessage(null));
  }

  /** The wallet was opened here: works if no other window does, or when that one goes. */
  async enter(): Promise<void> {
    if (this.#open) return;
    this.#open = true;
    await this.#ask({ ifAvailable: true });
  }

  /** The owner does something here: this window works from now on. */
  async lead(): Promise<void> {
    if (this.#open && !this.#leading) await this.#ask({ steal: true });
  }

  /** The wallet was locked here. */
  leave(): void {
    this.#open = false;
    this.#leading = false;
    this.#turn += 1;
    this.#release?.();
  }

  /** Resolves when it is known whether this window works. */
  #ask(options: LockOptions): Promise<void> {
    this.#turn += 1;
    const turn = this.#turn;
    const counts = () => turn === this.#turn;
    return new Promise((known) => {
      const hold = async (lock: Lock | null) => {
        if (counts()) await this.#become(lock !== null);
        known();
        if (!counts()) return;
        if (lock) {
          await new Promise<void>((release) => {
            this.#release = release;
          });
        } else void this.#ask({});
      };
      navigator.locks.request(this.#name, options, hold).catch(async () => {
        // Another window was used; this one waits for its turn.
        if (counts()) await this.#become(false);
        known();
        if (counts()) void this.#ask({});
      });
    });
  }

  async #become(leading: boolean): Promise<void> {
    this.#leading = leading;
    // A wallet that was locked meanwhile has nothing to lead.
    await this.#engine.setLeading(leading).catch(() => undefined);
  }

  async #catchUp(): Promise<void> {
    if (this.#following) return;
    this.#following = true;
    while (this.#behind && this.#open) {
      this.#behind = false;
      await this.#engine.follow().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#following = false;
  }
}
