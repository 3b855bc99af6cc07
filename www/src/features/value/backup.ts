import { html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { SafeView, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { size } from '../../shared/format.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import './choice.ts';
import { type ChosenPlan, choices } from './choice.ts';
import './outlook.ts';

/** How a value is backed up: by which plan, over which safes. Sends `dismiss` when the backup has begun or was called off. */
@customElement('sr-backup')
export class Backup extends Page {
  static override styles = [base, choices];

  @property({ attribute: false }) value!: ValueView;
  @property({ attribute: false }) values: ValueView[] = [];
  @property({ attribute: false }) safes: SafeView[] = [];
  @state() private plan: ChosenPlan = { text: '', reading: null, fits: false };
  @state() private readable = false;
  @state() private moving = false;
  /** Other values that go with this one. */
  @state() private others: ReadonlySet<string> = new Set();

  /** The first thing to choose has the focus, and is in a component of its own. */
  protected override firstUpdated(): void {}

  protected override render(): TemplateResult {
    const { text, reading, fits } = this.plan;
    return html`<form class="stack" @submit=${this.#submit}>
      <sr-plan-choice .safes=${this.safes} autofocus @plan=${this.#onPlan}></sr-plan-choice>
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
          ? html`<sr-outlook .plan=${text} .values=${[this.value.id, ...this.others]} .safes=${this.safes}></sr-outlook>`
          : nothing
      }
      ${this.#move()} ${this.#coupled()} ${this.#face()} ${this.errorBox()}
      <div class="row">
        <button class="primary" data-testid="backup-submit" ?disabled=${this.busy || !fits || !reading?.text}>${this.moving ? 'Move it' : 'Back it up'}</button>
        <button type="button" class="quiet" @click=${() => this.dispatchEvent(new Event('dismiss'))}>Cancel</button>
      </div>
    </form>`;
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

  readonly #onPlan = ({ detail }: CustomEvent<ChosenPlan>) => {
    this.plan = detail;
  };

  async #submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const options = {
      words: field(event, 'words'),
      hint: field(event, 'hint'),
      readable: this.readable,
      moving: this.moving,
    };
    const values = [this.value.id, ...this.others];
    if (await this.act(() => session.engine.backup(values, this.plan.text, options))) {
      this.dispatchEvent(new Event('dismiss'));
    }
  }
}
