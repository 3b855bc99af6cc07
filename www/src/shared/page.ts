import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { state } from 'lit/decorators.js';
import { type EngineError, toEngineError } from '../engine/errors.ts';
import { session } from '../engine/session.ts';
import { icon } from './icons.ts';
import { base } from './styles.ts';

/** What every page and form has: one thing at a time, and a place for what went wrong with it. */
export abstract class Page extends LitElement {
  static override styles = [base];

  @state() protected busy = false;
  @state() protected error: EngineError | null = null;

  /** Runs one action; resolves with whether it succeeded. Its error is shown where `errorBox` stands. */
  protected async act(work: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.error = null;
    try {
      await work();
      return true;
    } catch (thrown) {
      const error = toEngineError(thrown);
      this.error = error;
      session.notice(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  protected errorBox(testid = 'error-message'): TemplateResult | typeof nothing {
    return this.error ? errorNotice(this.error, testid) : nothing;
  }

  protected override firstUpdated(): void {
    this.renderRoot.querySelector('h1')?.focus();
  }
}

export function errorNotice(error: EngineError, testid = 'error-message'): TemplateResult {
  return html`<div class="notice bad" role="alert" data-testid=${testid} data-code=${error.code}>
    ${icon('alert')}
    <div>
      <p>${error.message}</p>
      ${error.next ? html`<p class="small">${error.next}</p>` : nothing}
    </div>
  </div>`;
}

/** The text of one field of a submitted form. */
export function field(event: SubmitEvent, name: string): string {
  const entry = new FormData(event.currentTarget as HTMLFormElement).get(name);
  return typeof entry === 'string' ? entry : '';
}
