import { css, html, LitElement, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { icon } from './icons.ts';
import { base } from './styles.ts';

/**
 * A native modal dialog that is open for as long as it is rendered. Sends `dismiss` when closed in any way; whoever rendered it
 * then takes it away, and with it whatever was typed.
 */
@customElement('sr-dialog')
export class Dialog extends LitElement {
  static override styles = [
    base,
    css`
      dialog {
        width: min(34rem, calc(100vw - 2rem));
        max-height: calc(100dvh - 2rem);
        padding: 0;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
        color: var(--ink);
        box-shadow: 0 1rem 3rem rgb(0 0 0 / 25%);
      }
      dialog::backdrop {
        background: rgb(12 18 18 / 55%);
      }
      header {
        display: flex;
        align-items: center;
        justify-content: space-between;
        gap: 1rem;
        padding: 1.125rem 1.5rem 0;
      }
      header button {
        width: 2.75rem;
        padding: 0;
        margin-inline-end: -0.75rem;
        color: var(--muted);
      }
      .body {
        padding: 0.75rem 1.5rem 1.5rem;
      }
    `,
  ];

  @property() heading = '';

  close(): void {
    this.renderRoot.querySelector('dialog')?.close();
  }

  protected override firstUpdated(): void {
    this.renderRoot.querySelector('dialog')?.showModal();
    // Otherwise the close button, being first, would have the focus.
    this.querySelector<HTMLElement>('[data-first]')?.focus();
  }

  protected override render(): TemplateResult {
    return html`<dialog aria-labelledby="heading" @close=${this.#closed}>
      <header>
        <h2 id="heading">${this.heading}</h2>
        <button type="button" class="quiet" aria-label="Close" @click=${this.close}>${icon('cross')}</button>
      </header>
      <div class="body"><slot></slot></div>
    </dialog>`;
  }

  // Composed: a form that is a component of its own wraps its dialog, and whoever rendered the form has to hear of it.
  readonly #closed = () => {
    this.dispatchEvent(new Event('dismiss', { bubbles: true, composed: true }));
  };
}
