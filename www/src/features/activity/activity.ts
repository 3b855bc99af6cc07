import { css, html, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { ActivityView, WalletView } from '../../engine/api.ts';
import { time } from '../../shared/format.ts';
import { type IconName, icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';

const icons: Record<ActivityView['level'], IconName> = { info: 'info', warning: 'alert', error: 'cross' };
const levels: Record<ActivityView['level'], string> = { info: '', warning: 'Warning: ', error: 'Problem: ' };

/** What the wallet did, newest first. */
@customElement('sr-activity')
export class Activity extends Page {
  static override styles = [
    base,
    css`
      li {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        gap: 0.125rem 0.75rem;
        padding-block: 0.75rem;
      }
      li + li {
        border-top: 1px solid var(--line);
      }
      svg {
        margin-top: 0.125rem;
        color: var(--muted);
      }
      [data-level='warning'] svg {
        color: var(--warn);
      }
      [data-level='error'] svg {
        color: var(--bad);
      }
      p {
        overflow-wrap: anywhere;
      }
      time {
        grid-column: 2;
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;

  protected override render(): TemplateResult {
    const lines = this.view.activity.toSorted((a, b) => b.at - a.at);
    return html`<div class="stack">
      <h1 tabindex="-1">Activity</h1>
      ${
        lines.length === 0
          ? html`<p class="muted">Nothing has happened yet.</p>`
          : html`<ol class="card">
              ${lines.map(
                (line) => html`<li data-testid="activity-row" data-level=${line.level}>
                  ${icon(icons[line.level])}
                  <p><span class="visually-hidden">${levels[line.level]}</span>${line.text}</p>
                  <time class="muted small" datetime=${new Date(line.at).toISOString()}>${time(line.at)}</time>
                </li>`,
              )}
            </ol>`
      }
    </div>`;
  }
}
