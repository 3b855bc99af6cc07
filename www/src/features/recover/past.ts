import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PastHead } from '../../engine/api.ts';
import { count, time } from '../../shared/format.ts';
import { base } from '../../shared/styles.ts';

/** What its owner has chosen. */
export interface Past {
  /** The number of the head in the list. */
  which: number;
  /** What came since is left out. */
  exactly: boolean;
}

/** How the book stood in the last days, to go back to one of them. Says which by a `choose` event. */
@customElement('sr-past')
export class PastChoice extends LitElement {
  static override styles = [
    base,
    css`
      fieldset {
        border: 0;
        display: grid;
        gap: 0.5rem;
      }
      label {
        display: flex;
        gap: 0.625rem;
        align-items: baseline;
        min-height: 2rem;
      }
      .when {
        display: grid;
      }
    `,
  ];

  @property({ attribute: false }) past: PastHead[] = [];
  @property({ type: Boolean }) busy = false;
  /** This device only reads: it sees everything as it was in any case. */
  @property({ type: Boolean }) reads = false;
  @state() private chosen: number | null = null;
  @state() private exactly = false;

  protected override render(): TemplateResult {
    if (this.past.length === 0)
      return html`<p class="muted" role="status" data-testid="past-none">
        Your safes have kept nothing from before yet: they do so from the first change on that stands for a few hours.
      </p>`;
    return html`<form class="stack" data-testid="past" @submit=${this.#choose}>
      <fieldset>
        <legend>Your book as it stood</legend>
        ${this.past.map(
          ({ from, until, safes }, at) => html`<label>
            <input type="radio" name="past" required .checked=${this.chosen === at} data-testid="past-one" data-until=${until}
              @change=${() => {
                this.chosen = at;
              }} />
            <span class="when">
              <span>${from > 0 ? html`from ${time(from)} to ${time(until)}` : html`until ${time(until)}`}</span>
              <span class="muted small">kept by ${count(safes.length, 'safe')}: ${safes.join(', ')}</span>
            </span>
          </label>`,
        )}
      </fieldset>
      <p class="small muted">
        Choose the last time at which everything was right: what was let go or left out since then is taken back. If nothing is missing in your list and does not
        come back all the same, choose the newest. Safes keep what a device lets go for seven days.
      </p>
      ${
        this.reads
          ? nothing
          : html`<label>
              <input type="checkbox" .checked=${this.exactly} data-testid="past-exactly"
                @change=${(event: Event) => {
                  this.exactly = (event.target as HTMLInputElement).checked;
                }} />
              <span>Somebody has written over my values: put them back exactly as they were, and leave out what came since</span>
            </label>`
      }
      <div>
        <button class="primary" data-testid="past-go" ?disabled=${this.busy}>${this.busy ? 'Asking your safes…' : 'Go back to this'}</button>
      </div>
    </form>`;
  }

  #choose(event: SubmitEvent): void {
    event.preventDefault();
    if (this.chosen === null) return;
    const detail = { which: this.chosen, exactly: this.exactly };
    this.dispatchEvent(new CustomEvent<Past>('choose', { detail }));
  }
}
