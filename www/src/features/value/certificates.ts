import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { CertificateView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { download, fileName } from '../../shared/download.ts';
import { count, date, size, time } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base, facts } from '../../shared/styles.ts';
import { certificateBadge, faultBadge } from '../../shared/words.ts';

/** From the furthest behind to the furthest on: a safe is only as far as its slowest deposit. */
const order: CertificateView['state'][] = ['planned', 'offered', 'held', 'released'];

/** The certificates of one backup, a row for each safe; the segments of a large value are folded into it. */
@customElement('sr-certificates')
export class Certificates extends Page {
  static override styles = [
    base,
    facts,
    css`
      ul.safes {
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
      }
      ul.safes > li + li {
        border-top: 1px solid var(--line);
      }
      summary,
      .plain {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr) auto;
        align-items: center;
        gap: 0.125rem 0.625rem;
        min-height: 3rem;
        padding: 0.5rem 0.875rem;
        cursor: pointer;
        list-style: none;
      }
      summary::-webkit-details-marker {
        display: none;
      }
      summary::before {
        content: '›' / '';
        width: 0.75rem;
        color: var(--muted);
        font-size: 1.25rem;
        line-height: 1;
        text-align: center;
        transition: rotate 120ms;
      }
      details[open] summary::before {
        rotate: 90deg;
      }
      .name {
        font-weight: 550;
        overflow-wrap: anywhere;
      }
      .until {
        grid-column: 2 / -1;
      }
      .deposit {
        display: grid;
        gap: 0.75rem;
        padding: 0.75rem 0.875rem 1rem 2.25rem;
        border-top: 1px solid var(--line);
      }
      @media (max-width: 30rem) {
        .deposit {
          padding-left: 0.875rem;
        }
      }
    `,
  ];

  @property({ attribute: false }) certificates: CertificateView[] = [];
  /** For the names of downloads. */
  @property() name = '';

  protected override render(): TemplateResult {
    const bySafe = Map.groupBy(this.certificates, ({ safeId }) => safeId);
    return html`<div class="stack tight">
      <h3>Certificates</h3>
      <p class="muted small">Each safe signs for what it takes. With enough of these certificates the value comes back.</p>
      <ul class="safes">
        ${[...bySafe.values()].map((deposits) => this.#safe(deposits))}
      </ul>
      ${this.errorBox()}
    </div>`;
  }

  #safe(deposits: CertificateView[]): TemplateResult {
    const furthestBehind = deposits.reduce((a, b) =>
      order.indexOf(b.state) < order.indexOf(a.state) ? b : a,
    );
    const ends = deposits.flatMap(({ leaseEnd }) => (leaseEnd === null ? [] : [leaseEnd]));
    const { nickname, state } = furthestBehind;
    const fault = deposits.find((deposit) => deposit.fault !== null)?.fault;
    return html`<li
      data-testid="certificate-row"
      data-state=${state}
      data-safe=${nickname}
      data-audit=${auditState(deposits)}
    >
      <details>
        <summary>
          <span class="name">${nickname}</span>
          ${fault ? faultBadge : certificateBadge(state)}
          <span class="until muted small">
            ${deposits.length > 1 ? `${count(deposits.length, 'deposit')}, ` : nothing}${
              ends.length > 0 ? `kept until ${date(Math.min(...ends))}` : 'no certificate yet'
            }${audited(deposits)}
          </span>
        </summary>
        ${
          fault
            ? html`<div class="deposit">
                <div class="notice bad">
                  ${icon('alert')}
                  <p class="small">This safe ${fault}. Ask it to testify; with the certificate, what it says is evidence.</p>
                </div>
              </div>`
            : nothing
        }
        ${deposits.map((deposit) => this.#deposit(deposit))}
      </details>
    </li>`;
  }

  #deposit(deposit: CertificateView): TemplateResult {
    const { segment, segments, length, root, issued, leaseEnd, entry, url } = deposit;
    return html`<div class="deposit">
      <dl>
        ${segments > 1 ? row('Segment', `${segment + 1} of ${segments}`) : nothing}
        ${row('Deposit', deposit.depositId, true)} ${url === null ? nothing : row('Safe', url)}
        ${length === null ? nothing : row('Size', size(length))}
        ${root === null ? nothing : row('Digest', root, true)}
        ${issued === null ? nothing : row('Issued', date(issued))}
        ${leaseEnd === null ? nothing : row('Kept until', date(leaseEnd))}
        ${entry === null ? nothing : row('Signed with', `key ${entry} of the safe`)}
      </dl>
      ${
        issued === null
          ? nothing
          : html`<div class="row">
              <a class="button small" href="#/evidence/${deposit.depositId}" data-testid="certificate-examine">
                ${icon('eye')}Look into it, or ask the safe
              </a>
              <button type="button" class="small" data-testid="certificate-download" @click=${() => this.#save(deposit)}>
                ${icon('download')}Download the certificate
              </button>
            </div>`
      }
    </div>`;
  }

  #save({ depositId, nickname, segment, segments }: CertificateView): void {
    const part = segments > 1 ? ` ${segment + 1}` : '';
    void this.act(async () => {
      download(
        fileName(`${this.name} ${nickname}${part}`, 'cose'),
        await session.engine.certificate(depositId),
      );
    });
  }
}

/** When all of a safe's pieces were last seen, in words that follow “kept until”. */
function audited(deposits: CertificateView[]): string {
  switch (auditState(deposits)) {
    case 'running':
      return ', being checked';
    case 'sound':
      return `, shown ${time(Math.min(...deposits.map((deposit) => deposit.audited ?? 0)))}`;
    default:
      return '';
  }
}

function auditState(deposits: CertificateView[]): 'running' | 'fault' | 'sound' | 'never' {
  if (deposits.some(({ auditing }) => auditing)) return 'running';
  if (deposits.some(({ fault }) => fault !== null)) return 'fault';
  return deposits.every(({ audited }) => audited !== null) ? 'sound' : 'never';
}

function row(term: string, text: string, mono = false): TemplateResult {
  return html`<dt>${term}</dt><dd class=${mono ? 'mono' : ''}>${text}</dd>`;
}
