import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import type { PasskeyView, WalletView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { date } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { obstacle, register, wipe } from './webauthn.ts';

/** What opens this wallet on this device. */
@customElement('sr-passkeys')
export class Passkeys extends Page {
  static override styles = [
    base,
    css`
      .label {
        font-weight: 620;
        overflow-wrap: anywhere;
      }
      li + li {
        padding-top: 1rem;
        border-top: 1px solid var(--line);
      }
      .ask {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 0.75rem;
      }
      @media (max-width: 30rem) {
        .ask {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  @state() private said = '';
  readonly #obstacle = obstacle();
  #leaving = new AbortController();

  override connectedCallback(): void {
    super.connectedCallback();
    this.#leaving = new AbortController();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    // Locked, perhaps: then nobody waits for the key any more.
    this.#leaving.abort();
  }

  protected override render(): TemplateResult {
    const { passkeys } = this.view;
    return html`<div class="stack">
      <div class="stack tight">
        <h1 tabindex="-1">Ways to unlock</h1>
        <p class="muted">What opens this wallet on this device.</p>
      </div>
      <section class="card stack tight" aria-labelledby="passphrase">
        <h2 id="passphrase">Your passphrase</h2>
        <p>It always works. Keep it, whatever else you add: it is what is left when a key is lost, broken or erased.</p>
      </section>
      <section class="card stack" aria-labelledby="passkeys" data-testid="passkeys" data-count=${passkeys.length}>
        <div class="stack tight">
          <h2 id="passkeys">Passkeys and security keys</h2>
          <p>
            Instead of typing you use your fingerprint, your face or the PIN of this device, or a security key that you plug in or
            hold to it. Whoever can use that and has this device opens the wallet.
          </p>
        </div>
        ${
          passkeys.length === 0
            ? nothing
            : html`<ul class="stack">
                ${repeat(
                  passkeys,
                  ({ id }) => id,
                  (passkey) => this.#passkey(passkey),
                )}
              </ul>`
        }
        ${this.#obstacle ? html`<p class="muted small">${this.#obstacle}</p>` : this.#add()}
        <p role="status" class="small" data-testid="passkey-said" ?hidden=${!this.said}>${this.said}</p>
        ${this.errorBox()}
        ${
          passkeys.length === 0 && !this.said
            ? nothing
            : html`<p class="muted small">
                Removing one here ends that it opens this wallet. It does not delete it from your device, your password manager or
                the security key; you can do that there.
              </p>`
        }
      </section>
    </div>`;
  }

  #passkey({ id, label, added }: PasskeyView): TemplateResult {
    return html`<li class="row apart" data-testid="passkey-row" data-label=${label}>
      <div>
        <p class="label">${label || 'Without a name'}</p>
        <p class="muted small">Added ${date(added)}</p>
      </div>
      <button
        type="button"
        class="small danger"
        data-testid="passkey-remove"
        aria-label="Remove ${label || `the one of ${date(added)}`}"
        ?disabled=${this.busy}
        @click=${() => this.#remove(id)}
      >
        Remove
      </button>
    </li>`;
  }

  #add(): TemplateResult {
    return html`<form class="stack tight" @submit=${this.#onAdd}>
      <label for="label">What you call it</label>
      <div class="ask">
        <input
          id="label"
          name="label"
          maxlength="40"
          autocomplete="off"
          placeholder="the blue key, this laptop"
          data-testid="passkey-label"
        />
        <button data-testid="passkey-add" ?disabled=${this.busy}>
          ${icon('plus')}${this.busy ? 'Waiting for it…' : 'Add one'}
        </button>
      </div>
    </form>`;
  }

  #onAdd(event: SubmitEvent): void {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const label = field(event, 'label').trim();
    void this.#change(async () => {
      const known = this.view.passkeys.map(({ id }) => id);
      const { id, salt, output } = await register(label, known, this.#leaving.signal);
      try {
        await session.engine.addPasskey(id, salt, output, label);
      } finally {
        wipe(output);
      }
      form.reset();
      return 'Added. It opens this wallet from now on, and so does your passphrase.';
    });
  }

  #remove(id: string): void {
    void this.#change(async () => {
      await session.engine.removePasskey(id);
      return 'Removed. It no longer opens this wallet.';
    });
  }

  async #change(work: () => Promise<string>): Promise<void> {
    this.said = '';
    await this.act(async () => {
      this.said = await work();
    });
  }
}
