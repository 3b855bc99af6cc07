import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PlanReading, SafeView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { contactBadge, strengthSentence } from '../../shared/words.ts';
import { examples, type Preset, planOf, presets } from './plans.ts';

/** A plan as it stands in the form. */
export interface ChosenPlan {
  text: string;
  /** What the engine reads in it; null until it has. */
  reading: PlanReading | null;
  /** There are as many safes as it takes. */
  fits: boolean;
}

/** Lists to choose from. */
export const choices = css`
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
`;

/** By which plan, over which safes. Says so with `plan` whenever it changes. */
@customElement('sr-plan-choice')
export class PlanChoice extends Page {
  static override styles = [
    base,
    choices,
    css`
      .presets {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
        gap: 0.5rem;
        margin-top: 0.5rem;
      }
      .presets label {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        align-items: start;
        align-content: start;
        gap: 0.125rem 0.625rem;
        padding: 0.625rem 0.875rem;
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
        cursor: pointer;
      }
      .presets label:has(:checked) {
        border-color: var(--accent);
      }
      .presets input {
        margin-top: 0.125rem;
      }
      .presets small {
        grid-column: 2;
        font-weight: 400;
      }
      .threshold {
        max-width: 16rem;
      }
      textarea {
        min-height: 7rem;
        font: 0.875rem / 1.5 var(--mono);
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) safes: SafeView[] = [];
  /** A plan to begin with, as text. */
  @property({ attribute: false }) begin = '';
  @property({ type: Boolean }) override autofocus = false;
  @state() private preset: Preset['id'] = 'spread';
  /** Safes are taken unless the owner says no, so that one added meanwhile is in. */
  @state() private left: ReadonlySet<string> = new Set();
  /** Null until the owner chose it himself. */
  @state() private chosen: number | null = null;
  /** The text of the custom plan; null until it was touched: then it is the plan that stood there before. */
  @state() private text: string | null = null;
  @state() private reading: PlanReading | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.begin) {
      this.preset = 'custom';
      this.text = this.begin;
    } else if (this.#knowing().length >= 2) {
      this.preset = 'guarded';
    }
  }

  /** Safes that know their owner, and can give him what they give to nobody else. */
  #knowing(): SafeView[] {
    const { owner } = session.view ?? {};
    if (!owner?.enrolled || owner.superseded) return [];
    return this.safes.filter(({ id }) => owner.seats.some((seat) => seat.safeId === id && seat.known));
  }

  /** The safes that the preset can use. */
  #usable(): SafeView[] {
    return this.preset === 'guarded' ? this.#knowing() : this.safes;
  }

  protected override firstUpdated(): void {
    if (this.autofocus) this.renderRoot.querySelector('input')?.focus();
  }

  protected override willUpdate(): void {
    void this.#read(this.#plan());
  }

  protected override render(): TemplateResult {
    const { least, most } = presets.find(({ id }) => id === this.preset) as Preset;
    return html`<div class="stack">
      ${this.#presets()}
      ${this.preset === 'custom' ? this.#custom() : this.#overSafes(this.#fits(), least, most)}
    </div>`;
  }

  #fits(): boolean {
    const n = this.#taken().length;
    const { least, most } = presets.find(({ id }) => id === this.preset) as Preset;
    return this.preset === 'custom' || (n >= least && n <= most);
  }

  #say(): void {
    const detail: ChosenPlan = { text: this.#plan(), reading: this.reading, fits: this.#fits() };
    this.dispatchEvent(new CustomEvent('plan', { detail }));
  }

  #presets(): TemplateResult {
    return html`<fieldset>
      <legend>How?</legend>
      <div class="presets">
        ${presets.map(
          ({ id, label, meaning }) => html`<label>
            <input
              type="radio"
              name="preset"
              data-testid="backup-preset"
              data-preset=${id}
              .checked=${this.preset === id}
              @change=${() => {
                if (id === 'custom') this.text ??= this.#plan();
                this.preset = id;
              }}
            />
            ${label}<small class="muted">${meaning}</small>
          </label>`,
        )}
      </div>
    </fieldset>`;
  }

  #overSafes(fits: boolean, least: number, most: number): TemplateResult {
    const n = this.#taken().length;
    const k = this.#threshold();
    if (this.preset === 'guarded' && this.#usable().length < least) {
      return html`<p role="status" data-testid="guarded-needs">
        Your safes do not know you yet. Choose a recovery name and a passphrase under <a href="#/recover">Recover</a> first.
      </p>`;
    }
    return html`<fieldset>
        <legend>Over which safes?</legend>
        <ul class="choices">
          ${this.#usable().map(
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
      ${
        fits
          ? this.preset === 'spread' || this.preset === 'guarded'
            ? this.#choice(k, n)
            : nothing
          : html`<p role="status">
              ${n < least ? `Choose at least ${least} safes: one alone could read what it keeps.` : `Choose ${most} safes.`}
            </p>`
      }
      <details class="more">
        <summary>As a plan</summary>
        <p class="mono small" data-testid="plan-shown">${this.#plan()}</p>
      </details>`;
  }

  #choice(k: number, n: number): TemplateResult {
    const options = Array.from({ length: n - 1 }, (_, at) => at + 2);
    return html`<div class="stack tight">
        <label for="threshold">How many of them bring it back?</label>
        <select
          id="threshold"
          class="threshold"
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
      <p id="meaning" role="status" data-testid="backup-meaning">${strengthSentence({ threshold: k, total: n, coalition: k, needsWords: false, needsFile: false })}</p>
      ${
        k === n
          ? html`<div class="notice warn">
              ${icon('alert')}
              <p class="small">If a single one of these safes is lost, this backup is lost with it.</p>
            </div>`
          : nothing
      }`;
  }

  #custom(): TemplateResult {
    const error = this.reading?.error;
    return html`<div class="stack tight">
        <label for="example">Begin with</label>
        <select
          id="example"
          data-testid="plan-example"
          @change=${(event: Event) => {
            this.text = (event.target as HTMLSelectElement).value;
          }}
        >
          <option value=${this.text ?? ''}>…</option>
          ${examples(this.safes)
            .filter(({ safes }) => safes <= this.safes.length)
            .map(({ label, plan }) => html`<option value=${plan}>${label}</option>`)}
        </select>
      </div>
      <div class="stack tight">
        <label for="plan">Your plan</label>
        <textarea
          id="plan"
          spellcheck="false"
          autocapitalize="off"
          data-testid="plan-text"
          aria-describedby="plan-error"
          aria-invalid=${error ? 'true' : 'false'}
          .value=${this.text ?? ''}
          @input=${(event: Event) => {
            this.text = (event.target as HTMLTextAreaElement).value;
          }}
        ></textarea>
        <div id="plan-error" role="status" data-testid="plan-error">
          ${
            error
              ? html`<div class="notice warn">
                  ${icon('alert')}
                  <p class="small">${error.message}</p>
                </div>`
              : nothing
          }
        </div>
      </div>`;
  }

  #taken(): SafeView[] {
    return this.#usable().filter(({ id }) => !this.left.has(id));
  }

  /** A majority unless chosen otherwise, so that two halves can never both be enough: 3 of 5, 2 of 3. */
  #threshold(): number {
    const n = this.#taken().length;
    const majority = Math.floor(n / 2) + 1;
    return Math.min(Math.max(this.chosen ?? majority, 2), n);
  }

  #plan(): string {
    if (this.preset === 'custom') return this.text ?? '';
    return planOf(this.preset, this.#threshold(), this.#taken(), this.safes);
  }

  #lastRead: string | null = null;

  /** Asks the engine what a text means; only the newest answer counts. */
  async #read(text: string): Promise<void> {
    if (text === this.#lastRead) return;
    this.#lastRead = text;
    this.#say();
    const reading = await session.engine.plan.parse(text);
    if (this.#lastRead !== text) return;
    this.reading = reading;
    this.#say();
  }

  #toggle(id: string): void {
    const left = new Set(this.left);
    if (!left.delete(id)) left.add(id);
    this.left = left;
  }
}
