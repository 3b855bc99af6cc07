import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PasskeyOffer } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { passphraseProblem } from '../../shared/passphrase.ts';
import '../../shared/strength.ts';
import { base } from '../../shared/styles.ts';
import { ask, obstacle, wipe } from './webauthn.ts';

/** Makes the wallet, or opens it. */
@customElement('sr-unlock')
export class Unlock extends Page {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        max-width: 30rem;
        margin: 2rem auto 0;
      }
      @media (max-width: 40rem) {
        :host {
          margin-top: 0;
        }
      }
    `,
  ];

  /** No wallet yet in this browser profile. */
  @property({ type: Boolean }) fresh = false;
  /** There was one, and the browser has cleared it. */
  @property({ type: Boolean }) emptied = false;
  /** Nobody asked for the lock. */
  @property({ type: Boolean }) idled = false;
  @state() private shown = false;
  /** What else opens it. */
  @state() private passkeys: PasskeyOffer[] = [];
  readonly #obstacle = obstacle();
  #leaving = new AbortController();

  override connectedCallback(): void {
    super.connectedCallback();
    this.#leaving = new AbortController();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#leaving.abort();
  }

  protected override firstUpdated(): void {
    this.renderRoot.querySelector('input')?.focus();
    if (!this.fresh) void this.#look();
  }

  async #look(): Promise<void> {
    // If they cannot be read, the passphrase says why.
    this.passkeys = await session.engine.passkeys().catch(() => []);
  }

  protected override render(): TemplateResult {
    return this.fresh ? this.#create() : this.#unlock();
  }

  #create(): TemplateResult {
    return html`<div class="stack">
      <div class="stack tight">
        <h1>${this.emptied ? 'Your wallet is no longer in this browser' : 'Make your wallet'}</h1>
        <p class="muted">
          It keeps what must not be lost: seed phrases, keys, recovery codes, tickets, documents. Then it backs them up to
          several independent safes, none of which can read what it keeps.
        </p>
      </div>
      ${
        this.emptied
          ? html`<div class="notice warn" role="alert" data-testid="emptied">
              ${icon('alert')}
              <div class="stack tight">
                <p>There was a wallet here, and its storage is empty: the browser, or somebody who uses it, has cleared it.</p>
                <p>
                  What you had backed up is still at your safes. Make the wallet anew; then choose your certificate file under
                  Recover, which opens by itself. What was on this device only is gone.
                </p>
              </div>
            </div>`
          : nothing
      }
      <form class="card stack" @submit=${this.#onCreate}>
        <div class="stack tight">
          <label for="first">Passphrase</label>
          <sr-strength for="wallet">
            <input
              id="first"
              name="first"
              type=${this.shown ? 'text' : 'password'}
              autocomplete="new-password"
              autocapitalize="none"
              spellcheck="false"
              aria-describedby="hint"
              data-testid="create-passphrase"
            />
            <p id="hint" slot="advice" class="muted small">
              At least 12 characters. Five unrelated words are hard to guess and easy to remember.
            </p>
          </sr-strength>
        </div>
        <div class="stack tight">
          <label for="again">The same passphrase again</label>
          <input
            id="again"
            name="again"
            type=${this.shown ? 'text' : 'password'}
            autocomplete="new-password"
            autocapitalize="none"
            spellcheck="false"
            data-testid="create-passphrase-again"
          />
        </div>
        ${this.#showing()}
        <div class="notice">
          ${icon('info')}
          <p class="small">
            Nobody can reset this passphrase. Without it, what is only in this wallet is gone for good. What you have backed
            up can still be brought back with a certificate file and that file’s own passphrase.
          </p>
        </div>
        ${this.errorBox()}
        <div class="row">
          <button class="primary" data-testid="create-submit" ?disabled=${this.busy}>
            ${this.busy ? 'Making the wallet…' : 'Make the wallet'}
          </button>
        </div>
      </form>
      <p class="muted small">
        Are you here with a certificate file from another device? Make a wallet first; then open Recover.
        <a href="#/evidence">To look into a single certificate you need no wallet.</a>
      </p>
    </div>`;
  }

  #unlock(): TemplateResult {
    return html`<div class="stack">
      <div class="stack tight">
        <h1>Unlock your wallet</h1>
        <p class="muted">
          ${
            this.idled
              ? 'It locked itself after ten minutes without use.'
              : 'What it keeps is on this device, sealed under your passphrase.'
          }
        </p>
      </div>
      <form class="card stack" @submit=${this.#onUnlock}>
        <div class="stack tight">
          <label for="passphrase">Passphrase</label>
          <input
            id="passphrase"
            name="passphrase"
            type=${this.shown ? 'text' : 'password'}
            autocomplete="current-password"
            autocapitalize="none"
            spellcheck="false"
            data-testid="unlock-passphrase"
          />
        </div>
        ${this.#showing()} ${this.errorBox('unlock-error')}
        <div class="row">
          <button class="primary" data-testid="unlock-submit" ?disabled=${this.busy}>
            ${this.busy ? 'Unlocking…' : 'Unlock'}
          </button>
          ${this.passkeys.length === 0 || this.#obstacle ? nothing : this.#otherWay()}
        </div>
        ${
          this.passkeys.length > 0 && this.#obstacle
            ? html`<p class="muted small">${this.#obstacle} Your passphrase works.</p>`
            : nothing
        }
      </form>
    </div>`;
  }

  #otherWay(): TemplateResult {
    return html`<button type="button" data-testid="unlock-passkey" ?disabled=${this.busy} @click=${this.#onPasskey}>
      ${icon('key')}Unlock with passkey or security key
    </button>`;
  }

  #showing(): TemplateResult {
    return html`<label class="row">
      <input
        type="checkbox"
        .checked=${this.shown}
        @change=${() => {
          this.shown = !this.shown;
        }}
      />
      Show what I type
    </label>`;
  }

  #onCreate(event: SubmitEvent): void {
    event.preventDefault();
    const passphrase = field(event, 'first');
    const problem = passphraseProblem(passphrase, field(event, 'again'));
    if (problem) {
      this.error = problem;
      return;
    }
    const { emptied } = this;
    void this.act(async () => {
      await session.create(passphrase);
      if (emptied) location.hash = '#/recover';
    });
  }

  #onPasskey(): void {
    void this.act(async () => {
      // Another window may have added or removed some since this page was drawn.
      await this.#look();
      if (this.passkeys.length === 0) {
        throw new EngineError({
          code: 'no-passkeys',
          message: 'No passkey or security key opens this wallet any more.',
          next: 'Use your passphrase, which always works.',
        });
      }
      const { id, output } = await ask(this.passkeys, this.#leaving.signal);
      try {
        await session.unlockWithPasskey(id, output);
      } finally {
        wipe(output);
      }
    });
  }

  async #onUnlock(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const passphrase = field(event, 'passphrase');
    if (!passphrase) {
      this.error = new EngineError({
        code: 'passphrase-empty',
        message: 'There is no passphrase yet.',
        next: 'Type the passphrase of this wallet.',
      });
    } else if (!(await this.act(() => session.unlock(passphrase)))) {
      this.renderRoot.querySelector('input')?.select();
    }
  }
}
