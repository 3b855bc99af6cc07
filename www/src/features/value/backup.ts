import { css, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PlanReading, SafeView, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { contactBadge, strengthSentence } from '../../shared/words.ts';
import './outlook.ts';
import { examples, type Preset, planOf, presets } from './plans.ts';

/** How a value is backed up: by which plan, over which safes. Sends `dismiss` when the backup has begun or was called off. */
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
      }
      textarea {
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) value!: ValueView;
  @property({ attribute: false }) values: ValueView[] = [];
  @property({ attribute: false }) safes: SafeView[] = [];
  @state() private preset: Preset['id'] = 'spread';
  /** Safes are taken unless the owner says no, so that one added meanwhile is in. */
  @state() private left: ReadonlySet<string> = new Set();
  /** Null until the owner chose it himself. */
  @state() private chosen: number | null = null;
  /** The text of the custom plan; null until it was touched: then it is the plan that stood there before. */
  @state() private text: string | null = null;
  @state() private reading: PlanReading | null = null;
  @state() private readable = false;
  @state() private moving = false;
  /** Other values that go with this one. */
  @state() private others: ReadonlySet<string> = new Set();

  protected override firstUpdated(): void {
    this.renderRoot.querySelector('input')?.focus();
  }

  protected override willUpdate(_changed: PropertyValues<this>): void {
    void this.#read(this.#plan());
  }

  protected override render(): TemplateResult {
    const { preset, reading } = this;
    const n = this.#taken().length;
    const { least, most } = presets.find(({ id }) => id === preset) as Preset;
    const fits = preset === 'custom' || (n >= least && n <= most);
    return html`<form class="stack" @submit=${this.#submit}>
      ${this.#presets()}
      ${preset === 'custom' ? this.#custom() : this.#overSafes(fits, least, most)}
      ${
        reading?.hasWords
          ? html`<div class="stack tight">
              <label for="words">Words that only you know</label>
              <input id="words" name="words" autocomplete="off" minlength="12" aria-describedby="words-why" data-testid="backup-words" />
              <p id="words-why" class="muted small">
                At least 12 characters. They are kept nowhere: without them, or if one letter differs, the value does not come back.
              </p>
            </div>`
          : nothing
      }
      ${
        reading?.hasFile
          ? html`<p class="muted small">You will be asked to save a file with a piece of it, and to show that you have it.</p>`
          : nothing
      }
      ${
        fits
          ? html`<sr-outlook .plan=${this.#plan()} .values=${[this.value.id, ...this.others]} .safes=${this.safes}></sr-outlook>`
          : nothing
      }
      ${this.#move()} ${this.#coupled()} ${this.#face()} ${this.errorBox()}
      <div class="row">
        <button class="primary" data-testid="backup-submit" ?disabled=${this.busy || !fits || !reading?.text}>${this.moving ? 'Move it' : 'Back it up'}</button>
        <button type="button" class="quiet" @click=${() => this.dispatchEvent(new Event('dismiss'))}>Cancel</button>
      </div>
    </form>`;
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
    return html`<fieldset>
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
      ${
        fits
          ? this.preset === 'spread'
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

  #move(): TemplateResult {
    return html`<div class="stack tight">
      <label class="row">
        <input
          type="checkbox"
          data-testid="backup-move"
          aria-describedby="move-why"
          .checked=${this.moving}
          @change=${() => {
            this.moving = !this.moving;
          }}
        />
        Then take it off this device
      </label>
      <p id="move-why" class="muted small">
        ${
          this.moving
            ? 'The copy here goes when every safe has signed for its piece, and the pieces were put together again. Until then it stays.'
            : this.value.unique
              ? 'The copy here stays as well, and is the one that counts: another device gets it by taking it over only.'
              : 'The copy here stays as well.'
        }
      </p>
    </div>`;
  }

  #coupled(): TemplateResult | typeof nothing {
    const free = this.values.filter(
      ({ id, local, backup, unique }) =>
        id !== this.value.id && local && backup === null && unique === this.value.unique,
    );
    if (free.length === 0) return nothing;
    return html`<details class="more">
      <summary data-testid="backup-together">Together with other values</summary>
      <button
        type="button"
        class="small"
        data-testid="backup-with-all"
        @click=${() => {
          this.others = new Set(this.others.size === free.length ? [] : free.map(({ id }) => id));
        }}
      >
        ${this.others.size === free.length ? 'None of them' : `All ${free.length}`}
      </button>
      <p class="muted small">They share the safes' pieces, and each comes back by itself. They are released together.</p>
      <ul class="choices">
        ${free.map(
          (other) => html`<li>
            <label>
              <input
                type="checkbox"
                data-testid="backup-with"
                data-value-id=${other.id}
                .checked=${this.others.has(other.id)}
                @change=${() => {
                  const others = new Set(this.others);
                  if (!others.delete(other.id)) others.add(other.id);
                  this.others = others;
                }}
              />
              <span>${other.title}</span><span class="muted small">${size(other.size)}</span>
            </label>
          </li>`,
        )}
      </ul>
    </details>`;
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

  #plan(): string {
    if (this.preset === 'custom') return this.text ?? '';
    return planOf(this.preset, this.#threshold(), this.#taken(), this.safes);
  }

  #lastRead: string | null = null;

  /** Asks the engine what a text means; only the newest answer counts. */
  async #read(text: string): Promise<void> {
    if (text === this.#lastRead) return;
    this.#lastRead = text;
    const reading = await session.engine.plan.parse(text);
    if (this.#lastRead === text) this.reading = reading;
  }

  #toggle(id: string): void {
    const left = new Set(this.left);
    if (!left.delete(id)) left.add(id);
    this.left = left;
  }

  async #submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const options = {
      words: field(event, 'words'),
      hint: field(event, 'hint'),
      readable: this.readable,
      moving: this.moving,
    };
    const values = [this.value.id, ...this.others];
    if (await this.act(() => session.engine.backup(values, this.#plan(), options))) {
      this.dispatchEvent(new Event('dismiss'));
    }
  }
}
