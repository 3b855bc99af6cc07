import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { OperationView, SafeProgress } from '../engine/api.ts';
import { session } from '../engine/session.ts';
import { count } from './format.ts';
import { icon } from './icons.ts';
import { Page } from './page.ts';
import { base } from './styles.ts';
import { operations, progressBadge } from './words.ts';

/** A running operation, safe by safe. */
@customElement('sr-progress')
export class Progress extends Page {
  static override styles = [
    base,
    css`
      li {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: space-between;
        gap: 0.25rem 0.75rem;
        padding: 0.625rem 0;
        border-top: 1px solid var(--line);
      }
      .detail {
        flex-basis: 100%;
      }
      .name {
        font-weight: 550;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) operation!: OperationView;
  /** The value that it is about. */
  @property() valueId = '';

  protected override render(): TemplateResult {
    const { kind, progress, safes, mayClose, canCancel, lacking, waiting } = this.operation;
    const done = safes.filter(({ state }) => state === 'done').length;
    const summary = `${done} of ${count(safes.length, 'safe')} done`;
    return html`<div class="stack">
      <div class="stack tight">
        <div class="row apart">
          <h3 id="what">${operations[kind]}</h3>
          <span class="muted small" role="status">${summary}<span class="visually-hidden">${troubles(safes)}</span></span>
        </div>
        <progress max="1" .value=${progress} aria-labelledby="what"></progress>
      </div>
      ${
        waiting === null
          ? nothing
          : html`<div class="notice warn" role="status">
              ${icon('clock')}
              <div class="stack tight">
                <p>${waiting}</p>
                <div class="row">
                  ${lacking === null ? nothing : html`<a class="button small" href="#/rules" data-testid="make-room">Make room</a>`}
                  <button type="button" class="small" data-testid="retry" ?disabled=${this.busy}
                    @click=${() => this.act(() => session.engine.retry())}>Try again now</button>
                </div>
              </div>
            </div>`
      }
      ${this.errorBox()}
      <ul aria-label="Progress at each safe">
        ${safes.map(
          (safe) => html`<li data-testid="progress-safe" data-state=${safe.state} data-safe=${safe.nickname}>
            <span>
              <span class="name">${safe.nickname}</span>
              ${safe.total > 1 ? html`<span class="muted small">${safe.done} of ${safe.total} parts</span>` : nothing}
            </span>
            ${progressBadge(safe.state)}
            ${safe.detail ? html`<span class="detail muted small">${safe.detail}</span>` : nothing}
          </li>`,
        )}
      </ul>
      ${
        mayClose
          ? html`<p class="muted small">
              You may close this tab. The work goes on when you open the wallet again.
            </p>`
          : html`<p class="small"><strong>Please keep this tab open until it is done.</strong></p>`
      }
      ${
        canCancel
          ? html`<div>
              <button type="button" class="small quiet" data-testid="cancel" ?disabled=${this.busy}
                @click=${() => this.act(() => session.engine.cancel(this.valueId))}>${cancels[kind]}</button>
            </div>`
          : nothing
      }
    </div>`;
  }
}

/** What taking an operation back means. */
const cancels: Record<OperationView['kind'], string> = {
  register: 'Give this backup up',
  move: 'Keep it on this device',
  recover: 'Stop',
  'bring-back': 'Stop',
  drill: 'Stop',
  renew: 'Keep it as it was',
  release: '',
};

/** For those who hear the page: which safes are in trouble, said when it changes. */
function troubles(safes: SafeProgress[]): string {
  const said = { away: 'is not answering', lied: 'sent something false', refused: 'refused' };
  return safes
    .map(({ nickname, state }) => (state in said ? `; ${nickname} ${said[state as keyof typeof said]}` : ''))
    .join('');
}
