import { html, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Carrier, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';

/** A recovery through one safe, for safes that cannot be reached from here. */
@customElement('sr-through')
export class Through extends Page {
  static override styles = [base];

  @property({ attribute: false }) value!: ValueView;
  /** Null: nobody was asked yet. */
  @state() private carriers: Carrier[] | null = null;

  protected override render(): TemplateResult {
    return html`<details class="more" @toggle=${this.#look}>
      <summary data-testid="through-open">A safe cannot be reached from here?</summary>
      <div class="stack tight">${this.#choice()}${this.errorBox()}</div>
    </details>`;
  }

  #choice(): TemplateResult {
    if (this.carriers === null)
      return html`<p class="muted small" role="status">Asking your safes who can help …</p>`;
    if (this.carriers.length === 0) {
      return html`<p class="muted small" data-testid="through-none">
        None of your safes that answer now asks others for you. Try again later, or from another network.
      </p>`;
    }
    return html`<p class="muted small">
        One safe can fetch it for you from the others. It carries sealed envelopes and reads nothing. All the same,
        “${this.value.title}” is protected anew at once, under new keys.
      </p>
      ${this.carriers.map(
        ({ id, name, brings }) => html`<div class="row apart">
          <span>${name}<span class="muted small"> asks ${brings.join(', ')}</span></span>
          <button
            type="button"
            class="small"
            data-testid="through-start"
            data-name=${name}
            ?disabled=${this.busy}
            @click=${() => this.act(() => session.engine.recoverThrough(this.value.id, id))}
          >
            Recover it through ${name}
          </button>
        </div>`,
      )}`;
  }

  readonly #look = (event: Event): void => {
    if (!(event.currentTarget as HTMLDetailsElement).open) return;
    this.carriers = null;
    void this.act(async () => {
      this.carriers = await session.engine.carriers(this.value.id);
    });
  };
}
