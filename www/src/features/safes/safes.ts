import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { SafeProbe, SafeView, WalletView, Whereabouts } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { count, size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { contactBadge } from '../../shared/words.ts';

/** The safes this wallet trusts with pieces, and how one is added. */
@customElement('sr-safes')
export class Safes extends Page {
  static override styles = [
    base,
    css`
      .safes {
        display: grid;
        gap: 0.75rem;
      }
      .safe {
        display: grid;
        gap: 0.375rem;
      }
      .name {
        font-weight: 620;
        overflow-wrap: anywhere;
      }
      .url {
        overflow-wrap: anywhere;
      }
      .fingerprint {
        padding: 0.75rem 1rem;
        border-radius: var(--radius-small);
        background: var(--sunken);
        font-size: 1rem;
        letter-spacing: 0.03em;
        word-spacing: 0.25em;
        overflow-wrap: normal;
      }
      .ask {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 0.75rem;
      }
      @media (max-width: 30rem) {
        .ask {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  @state() private found: SafeProbe | null = null;
  /** The safe whose token was just kept. */
  @state() private kept = '';

  protected override render(): TemplateResult {
    const { safes, values } = this.view;
    const auditing = values.some(({ backup }) => backup?.certificates.some((one) => one.auditing));
    return html`<div class="stack">
      <div class="stack tight">
        <h1 tabindex="-1">Safes</h1>
        <p class="muted">
          A safe keeps pieces that it cannot read. Choose safes that belong to different people or companies: then what happens to
          one does not happen to the others.
        </p>
      </div>
      ${
        safes.length === 0
          ? html`<div class="notice">
              ${icon('info')}
              <p>There are no safes yet. Three are a good start; five let two of them fail.</p>
            </div>`
          : html`<ul class="safes">
              ${safes.map((safe) => this.#safe(safe))}
            </ul>`
      }
      <div class="row">
        ${
          safes.some(({ deposits }) => deposits > 0)
            ? html`<button
                type="button"
                class="small"
                data-testid="audit-all"
                ?disabled=${this.busy || auditing}
                @click=${() => this.act(() => session.engine.audit(null))}
              >
                ${icon('check')}${auditing ? 'Checking…' : 'Check that they still have everything'}
              </button>`
            : nothing
        }
        <a class="button small" href="#/evidence" data-testid="evidence-open">${icon('certificate')}Look into a certificate</a>
      </div>
      <section class="card stack" aria-labelledby="add">
        <h2 id="add">Add a safe</h2>
        <form class="stack" @submit=${this.#probe}>
          <div class="stack tight">
            <label for="url">Address of the safe</label>
            <div class="ask">
              <input
                id="url"
                name="url"
                inputmode="url"
                autocomplete="off"
                autocapitalize="none"
                spellcheck="false"
                placeholder="https://safe.example"
                required
                data-testid="safe-url"
              />
              <button class=${this.found ? '' : 'primary'} data-testid="safe-probe" ?disabled=${this.busy}>
                ${this.busy && !this.found ? 'Asking…' : 'Ask who it is'}
              </button>
            </div>
          </div>
        </form>
        ${this.found ? this.#decide(this.found) : nothing} ${this.errorBox()}
      </section>
    </div>`;
  }

  #safe(safe: SafeView): TemplateResult {
    return html`<li class="card safe" data-testid="safe-row" data-safe=${safe.nickname} data-contact=${safe.contact}>
      <div class="row apart">
        <span class="name">${safe.nickname}</span>
        ${contactBadge(safe.contact)}
      </div>
      <p class="muted small url">
        ${safe.name === safe.nickname ? nothing : html`${safe.name} · `}${safe.url}
      </p>
      ${said(safe.whereabouts)}
      <p class="muted small">
        ${safe.deposits === 0 ? 'Keeps nothing of this wallet.' : `Keeps ${count(safe.deposits, 'deposit')} of this wallet.`}
        ${safe.releasing > 0 ? `${count(safe.releasing, 'old piece is', 'old pieces are')} still to be let go.` : nothing}
      </p>
      ${safe.retiring ? this.#retiring(safe, safe.retiring) : nothing}
      ${
        safe.contact === 'not-itself'
          ? html`<div class="notice bad">
              ${icon('alert')}
              <p class="small">
                Something else answers at this address now: its identity is not the one you added. Nothing is sent to it. Ask
                its operator what happened.
              </p>
            </div>`
          : nothing
      }
      <details class="more">
        <summary>Fingerprint, token, retirement and removal</summary>
        <p class="mono">${safe.fingerprint}</p>
        <form class="stack tight" @submit=${(event: SubmitEvent) => this.#token(event, safe)}>
          <label for="token-${safe.id}">${safe.token ? 'Another token of its operator' : 'Token of its operator, if it wants one'}</label>
          <div class="ask">
            <input
              id="token-${safe.id}"
              name="token"
              autocomplete="off"
              autocapitalize="none"
              spellcheck="false"
              placeholder="strongroom-token-…"
              data-testid="safe-token-new"
            />
            <button data-testid="safe-token-set" ?disabled=${this.busy}>Keep the token</button>
          </div>
          ${
            this.kept === safe.id
              ? html`<p class="muted small" role="status" data-testid="safe-token-kept">
                  The token is kept. What was refused without it is asked again.
                </p>`
              : nothing
          }
        </form>
        ${this.#retire(safe)}
        <button
          type="button"
          class="small danger"
          data-testid="safe-remove"
          ?disabled=${this.busy}
          @click=${() => this.act(() => session.engine.removeSafe(safe.id))}
        >
          Remove ${safe.nickname}
        </button>
      </details>
    </li>`;
  }

  /** How far a retirement has come. */
  #retiring(safe: SafeView, { to, open, left }: NonNullable<SafeView['retiring']>): TemplateResult {
    const values = new Map(this.view.values.map(({ id, title }) => [id, title]));
    return html`<div class="notice" role="status" data-testid="safe-retiring" data-open=${open} data-left=${left.length}>
      ${icon('moved')}
      <div class="stack tight">
        <p class="small">
          ${
            open > 0
              ? `It retires: ${count(open, 'backup')} still to go to ${to}. That goes on while the wallet is open.`
              : left.length > 0
                ? `It retires in favour of ${to}. What is left needs you: renew it with another safe in its place.`
                : `Everything has gone to ${to}. You can remove this safe.`
          }
        </p>
        ${
          left.length > 0
            ? html`<p class="small">
                ${left.map((id, at) => html`${at > 0 ? ', ' : ''}<a href="#/value/${encodeURIComponent(id)}">${values.get(id) ?? ''}</a>`)}
              </p>`
            : nothing
        }
        <div>
          <button
            type="button"
            class="small"
            data-testid="safe-keep"
            ?disabled=${this.busy}
            @click=${() => this.act(() => session.engine.keepSafe(safe.id))}
          >
            ${open > 0 || left.length > 0 ? 'Keep it after all' : 'Keep it'}
          </button>
        </div>
      </div>
    </div>`;
  }

  /** Everything that it keeps goes elsewhere. */
  #retire(safe: SafeView): TemplateResult | typeof nothing {
    const others = this.view.safes.filter(({ id, retiring }) => id !== safe.id && !retiring);
    if (safe.retiring || safe.deposits === 0 || others.length === 0) return nothing;
    return html`<form class="stack tight" @submit=${(event: SubmitEvent) => this.#onRetire(event, safe)}>
      <label for="retire-${safe.id}">Let it retire: everything it keeps is renewed, with another safe in its place</label>
      <div class="ask">
        <select id="retire-${safe.id}" name="to" data-testid="safe-retire-to">
          ${others.map(({ id, nickname }) => html`<option value=${id}>${nickname}</option>`)}
        </select>
        <button data-testid="safe-retire" ?disabled=${this.busy}>Let it retire</button>
      </div>
    </form>`;
  }

  #onRetire(event: SubmitEvent, safe: SafeView): void {
    event.preventDefault();
    const to = field(event, 'to');
    void this.act(() => session.engine.retireSafe(safe.id, to));
  }

  #decide(found: SafeProbe): TemplateResult {
    return html`<form class="stack" @submit=${this.#add}>
      <div class="stack tight">
        <h3>${found.name}</h3>
        <p class="muted small">
          Takes up to ${size(found.limitBody)} at a time. ${admission(found.admission)}
        </p>
        ${said(found.whereabouts)}
        <p id="compare">
          Its fingerprint is below. Compare it with the one that its operator published. If they differ in a single letter, do
          not add it.
        </p>
        <p class="mono fingerprint" data-testid="safe-fingerprint">${found.fingerprint}</p>
      </div>
      ${
        found.known
          ? html`<p role="status">This safe is in your wallet already.</p>`
          : html`<div class="stack tight">
                <label for="nickname">Your name for it</label>
                <input
                  id="nickname"
                  name="nickname"
                  autocomplete="off"
                  maxlength="40"
                  required
                  .value=${suggestion(found.name)}
                  data-testid="safe-nickname"
                />
              </div>
              ${
                found.admission === 'token'
                  ? html`<div class="stack tight">
                      <label for="token">Token of its operator</label>
                      <input
                        id="token"
                        name="token"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        placeholder="strongroom-token-…"
                        required
                        aria-describedby="token-why"
                        data-testid="safe-token"
                      />
                      <p id="token-why" class="muted small">
                        It takes deposits only from people whom its operator has invited. Ask for a token and paste it here; it stays
                        in this wallet.
                      </p>
                    </div>`
                  : nothing
              }
              <div class="row">
                <button class="primary" data-testid="safe-add" aria-describedby="compare" ?disabled=${this.busy}>
                  It matches: add this safe
                </button>
                <button
                  type="button"
                  class="quiet"
                  @click=${() => {
                    this.found = null;
                  }}
                >
                  Cancel
                </button>
              </div>`
      }
    </form>`;
  }

  #token(event: SubmitEvent, safe: SafeView): void {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = field(event, 'token').trim();
    this.kept = '';
    void this.act(async () => {
      await session.engine.setToken(safe.id, token);
      form.reset();
      this.kept = safe.id;
    });
  }

  #probe(event: SubmitEvent): void {
    event.preventDefault();
    const url = withScheme(field(event, 'url').trim());
    this.found = null;
    void this.act(async () => {
      this.found = await session.engine.probeSafe(url);
    });
  }

  #add(event: SubmitEvent): void {
    event.preventDefault();
    const { found } = this;
    if (!found) return;
    const nickname = field(event, 'nickname').trim();
    const token = found.admission === 'token' ? field(event, 'token').trim() : '';
    void this.act(async () => {
      await session.engine.addSafe(found.url, found.id, nickname, token);
      this.found = null;
      const url = this.renderRoot.querySelector<HTMLInputElement>('#url');
      if (url) {
        url.value = '';
        url.focus();
      }
    });
  }
}

/** People type addresses without a scheme; only a safe on this machine speaks plain http. */
function withScheme(url: string): string {
  if (url.includes('://')) return url;
  return /^(localhost|127\.0\.0\.1)(:|\/|$)/.test(url) ? `http://${url}` : `https://${url}`;
}

/** Nicknames stand in plans, so the proposal is one plain word. */
function suggestion(name: string): string {
  return name
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .toLowerCase()
    .slice(0, 24);
}

/** What a safe says of who and what is behind it. */
function said({ operator, cloud, region }: Whereabouts): TemplateResult | typeof nothing {
  const parts = [operator && `run by ${operator}`, cloud && `on ${cloud}`, region && `in ${region}`].filter(
    Boolean,
  );
  if (parts.length === 0) return nothing;
  return html`<p class="muted small url" data-testid="safe-whereabouts">It says: ${parts.join(', ')}.</p>`;
}

function admission(word: string): string {
  if (word === 'open') return 'It takes deposits from anyone.';
  if (word === 'token' || word === 'invite')
    return 'It takes deposits from people whom its operator has invited.';
  return `Admission: ${word}.`;
}
