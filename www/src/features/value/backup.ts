import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { SafeView, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { contactBadge, thresholdSentence } from '../../shared/words.ts';

/** Which safes, and how many of them suffice. Sends `dismiss` when the backup has begun or was called off. */
@customElement('sr-backup')
export class Backup extends Page {
  static override styles = [
    base,
    css`
      .choices {
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
        margin-top: 0.5rem;
      }
      .choices label {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr) auto;
        align-items: center;
        gap: 0.75rem;
        min-height: 2.75rem;
        padding: 0.375rem 0.875rem;
        cursor: pointer;
      }
      .choices label span {
        overflow-wrap: anywhere;
      }
      .choices li + li {
        border-top: 1px solid var(--line);
      }
      select {
        max-width: 16rem;
      }
    `,
  ];

  @property({ attribute: false }) value!: ValueView;
  @property({ attribute: false }) safes: SafeView[] = [];
  /** Safes are taken unless the owner says no, so that one added meanwhile is in. */
  @state() private left: ReadonlySet<string> = new Set();
  /** Null until the owner chose it himself. */
  @state() private chosen: number | null = null;
  @state() private readable = false;

  protected override firstUpdated(): void {
    this.renderRoot.querySelector('input')?.focus();
  }

  protected override render(): TemplateResult {
    const taken = this.#taken();
    const n = taken.length;
    const k = this.#threshold();
    return html`<form class="stack" @submit=${this.#submit}>
      <fieldset>
        <legend>Over which safes?</legend>
        <ul class="choices">
          ${this.safes.map(
            (safe) => html`<li>
              <label>
                <input
                  type="checkbox"
                  data-testid="backup-safe"
                  data-safe=${safe.nickname}
                  .checked=${!this.left.has(safe.id)}
                  @change=${() => this.#toggle(safe.id)}
                />
                <span>${safe.nickname}</span>
                ${safe.contact === 'away' || safe.contact === 'not-itself' ? contactBadge(safe.contact) : nothing}
              </label>
            </li>`,
          )}
        </ul>
      </fieldset>
      ${n < 2 ? html`<p role="status">Choose at least two safes: one alone could read what it keeps.</p>` : this.#choice(k, n)}
      ${this.#face()} ${this.errorBox()}
      <div class="row">
        <button class="primary" data-testid="backup-submit" ?disabled=${this.busy || n < 2}>Back it up</button>
        <button type="button" class="quiet" @click=${() => this.dispatchEvent(new Event('dismiss'))}>Cancel</button>
      </div>
    </form>`;
  }

  #choice(k: number, n: number): TemplateResult {
    const options = Array.from({ length: n - 1 }, (_, at) => at + 2);
    return html`<div class="stack tight">
        <label for="threshold">How many of them bring it back?</label>
        <select
          id="threshold"
          data-testid="backup-threshold"
          aria-describedby="meaning"
          .value=${String(k)}
          @change=${(event: Event) => {
            this.chosen = Number((event.target as HTMLSelectElement).value);
          }}
        >
          ${options.map((option) => html`<option value=${option} ?selected=${option === k}>${option} of ${n}</option>`)}
        </select>
      </div>
      <p id="meaning" role="status" data-testid="backup-meaning">${thresholdSentence(k, n)}</p>
      ${
        k === n
          ? html`<div class="notice warn">
              ${icon('alert')}
              <p class="small">If a single one of these safes is lost, this backup is lost with it.</p>
            </div>`
          : nothing
      }`;
  }

  #face(): TemplateResult {
    return html`<details class="more">
      <summary data-testid="backup-face">What the certificates show</summary>
      <label class="row">
        <input
          type="checkbox"
          data-testid="backup-readable"
          aria-describedby="readable-why"
          .checked=${this.readable}
          @change=${() => {
            this.readable = !this.readable;
          }}
        />
        Readable for everybody
      </label>
      <p id="readable-why" class="muted small">
        ${
          this.readable
            ? `Whoever sees a certificate reads “${this.value.title}”, its kind, its date and the hint. The safes see it too.`
            : 'Title, kind, date and hint are sealed: only your wallet reads them.'
        }
      </p>
      <div class="stack tight">
        <label for="hint">A hint, if you like</label>
        <input id="hint" name="hint" autocomplete="off" maxlength="80" data-testid="backup-hint" />
      </div>
    </details>`;
  }

  #taken(): SafeView[] {
    return this.safes.filter(({ id }) => !this.left.has(id));
  }

  /** A majority unless chosen otherwise, so that two halves can never both be enough: 3 of 5, 2 of 3. */
  #threshold(): number {
    const n = this.#taken().length;
    const majority = Math.floor(n / 2) + 1;
    return Math.min(Math.max(this.chosen ?? majority, 2), n);
  }

  #toggle(id: string): void {
    const left = new Set(this.left);
    if (!left.delete(id)) left.add(id);
    this.left = left;
  }

  async #submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const ids = this.#taken().map(({ id }) => id);
    const hint = field(event, 'hint') || null;
    const { readable } = this;
    if (
      await this.act(() => session.engine.register(this.value.id, ids, this.#threshold(), readable, hint))
    ) {
      this.dispatchEvent(new Event('dismiss'));
    }
  }
}
