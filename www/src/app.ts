/**
 * The shell: what the status of the wallet allows to see, the page that the address names (`#/value/…`), and the things that
 * stand on every page. The hooks for end-to-end tests are listed in `testids.md`.
 */
import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { keyed } from 'lit/directives/keyed.js';
import type { WalletView } from './engine/api.ts';
import { type EngineError, toEngineError } from './engine/errors.ts';
import { session } from './engine/session.ts';
import './features/activity/activity.ts';
import './features/evidence/evidence.ts';
import './features/owner/credentials.ts';
import './features/owner/kit.ts';
import './features/recover/export.ts';
import './features/recover/recover.ts';
import './features/rules/rules.ts';
import './features/safes/safes.ts';
import './features/unlock/passkeys.ts';
import './features/unlock/unlock.ts';
import './features/value/value.ts';
import './features/values/values.ts';
import { shell } from './app.styles.ts';
import { count } from './shared/format.ts';
import { icon } from './shared/icons.ts';
import { errorNotice } from './shared/page.ts';
import { base } from './shared/styles.ts';

/** A wallet that is not open after this long may never be, milliseconds: opening takes a fraction of a second. */
const PATIENCE_MS = 15_000;

const pages = [
  ['values', 'Values'],
  ['safes', 'Safes'],
  ['rules', 'Rules'],
  ['recover', 'Recover'],
  ['activity', 'Activity'],
] as const;

function reloadButton(): TemplateResult {
  return html`<div class="row">
    <button type="button" data-testid="reload" @click=${() => location.reload()}>Reload the page</button>
  </div>`;
}

@customElement('sr-app')
export class App extends LitElement {
  static override styles = [base, shell];

  @state() private route = readRoute();
  @state() private exporting = false;
  @state() private error: EngineError | null = null;
  /** Opening takes longer than it should. */
  @state() private late = false;

  override connectedCallback(): void {
    super.connectedCallback();
    setTimeout(() => {
      this.late = true;
    }, PATIENCE_MS);
    addEventListener('hashchange', this.#routed);
    session.addEventListener('change', this.#changed);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    removeEventListener('hashchange', this.#routed);
    session.removeEventListener('change', this.#changed);
  }

  readonly #routed = () => {
    this.route = readRoute();
    this.error = null;
    scrollTo(0, 0);
  };

  readonly #changed = () => {
    if (session.status !== 'open') this.exporting = false;
    this.requestUpdate();
  };

  protected override updated(): void {
    // Never the title of a value: it would stay in the browser's history.
    const others: Record<string, string> = {
      value: 'Value',
      unlocking: 'Ways to unlock',
      returning: 'Ways to come back',
      kit: 'Printed kit',
    };
    const { page: name } = this.route;
    const page = others[name] ?? pages.find(([known]) => known === name)?.[1];
    document.title = session.view && page ? `${page} · Strongroom` : 'Strongroom';
  }

  protected override render(): TemplateResult {
    const { view } = session;
    return html`
      <header>
        <div class="bar">
          <a class="brand" href="#/values">${icon('safe')}Strongroom</a>
          ${view ? this.#navigation() : nothing}
        </div>
      </header>
      <main>${view ? this.#page(view) : this.#closed()}</main>
      ${view ? this.#footer(view) : nothing}
      ${
        this.exporting && view
          ? html`<sr-export .ids=${protectedIds(view)} @dismiss=${() => {
              this.exporting = false;
            }}></sr-export>`
          : nothing
      }
    `;
  }

  #navigation(): TemplateResult {
    return html`
      <nav aria-label="Pages">
        ${pages.map(
          ([name, label]) => html`<a
            href="#/${name}"
            data-testid="nav-${name}"
            aria-current=${this.#current(name)}
            >${label}</a
          >`,
        )}
      </nav>
      <button type="button" class="small lock" data-testid="lock" @click=${this.#lock}>
        ${icon('lock')}Lock
      </button>
    `;
  }

  #current(name: string): 'page' | 'true' | typeof nothing {
    if (this.route.page === name) return 'page';
    if (name === 'safes' && this.route.page === 'evidence') return 'true';
    return name === 'values' && this.route.page === 'value' ? 'true' : nothing;
  }

  #closed(): TemplateResult {
    const { status, failure } = session;
    if (failure) return html`<div class="stack">${errorNotice(failure)}${reloadButton()}</div>`;
    if (status === 'starting') {
      return html`<div class="stack">
        <p class="muted" role="status">
          ${this.late ? 'Opening takes unusually long. What the wallet has stored is still there.' : 'Opening…'}
        </p>
        ${this.late ? reloadButton() : nothing}
      </div>`;
    }
    if (this.route.page === 'evidence') return html`<sr-evidence></sr-evidence>`;
    return html`<sr-unlock
      .fresh=${status === 'none'}
      .emptied=${session.emptied}
      .idled=${session.lockedByIdling}
    ></sr-unlock>`;
  }

  #page(view: WalletView): TemplateResult {
    const exporting = () => {
      this.exporting = true;
    };
    switch (this.route.page) {
      case 'value':
        // Keyed, so that going from one value to another drops what was revealed of the first.
        return html`${keyed(
          this.route.id,
          html`<sr-value .valueId=${this.route.id} .view=${view}></sr-value>`,
        )}`;
      case 'safes':
        return html`<sr-safes .view=${view}></sr-safes>`;
      case 'rules':
        return html`<sr-rules .view=${view}></sr-rules>`;
      case 'recover':
        return html`<sr-recover .view=${view}></sr-recover>`;
      case 'evidence':
        return html`${keyed(
          this.route.id,
          html`<sr-evidence .depositId=${this.route.id} .view=${view}></sr-evidence>`,
        )}`;
      case 'unlocking':
        return html`<sr-passkeys .view=${view}></sr-passkeys>`;
      case 'returning':
        return html`<sr-credentials .view=${view}></sr-credentials>`;
      case 'kit':
        return html`<sr-kit .view=${view}></sr-kit>`;
      case 'activity':
        return html`<sr-activity .view=${view}></sr-activity>`;
      default:
        return html`<sr-values .view=${view} .unsaved=${session.unsaved.length} @export=${exporting}></sr-values>`;
    }
  }

  #footer(view: WalletView): TemplateResult {
    const some = protectedIds(view).length > 0;
    return html`<footer aria-label="This wallet">
      ${
        view.leading
          ? nothing
          : html`<p class="muted small" role="status" data-testid="following">
              Another window of this wallet is open and does the work. This one shows what it does, and takes over when you do
              something here or close the other.
            </p>`
      }
      ${this.error ? errorNotice(this.error) : nothing}
      <div class="row apart">
        <div class="stack tight">
          <button
            type="button"
            class="small"
            data-testid="export-certificates"
            ?disabled=${!some}
            @click=${() => {
              this.exporting = true;
            }}
          >
            ${icon('certificate')}Save certificate file
          </button>
          <p class="muted small">
            ${
              some
                ? 'If this device is lost, this file and its passphrase bring your values back.'
                : 'There is something to save once a value is backed up.'
            }
          </p>
        </div>
        ${this.#storage()}
        <div class="stack tight">
          <a class="button small" href="#/unlocking" data-testid="unlocking-open">${icon('key')}Ways to unlock</a>
          <p class="muted small">
            ${
              view.passkeys.length === 0
                ? 'Your passphrase opens this wallet. You can add a passkey or a security key.'
                : `Your passphrase opens this wallet, and ${count(view.passkeys.length, 'passkey or security key', 'passkeys or security keys')}.`
            }
          </p>
        </div>
      </div>
    </footer>`;
  }

  #storage(): TemplateResult {
    if (session.persistent) {
      return html`<p class="muted small" data-testid="storage" data-persistent="true">
        This browser has promised to keep the wallet’s storage.
      </p>`;
    }
    return html`<div class="stack tight storage" data-testid="storage" data-persistent="false">
      <p class="small muted">This browser may clear the wallet when the device runs short of room.</p>
      <div>
        <button type="button" class="small" data-testid="storage-persist" @click=${this.#persist}>
          Ask it to keep the wallet
        </button>
      </div>
    </div>`;
  }

  readonly #lock = () => this.#act(() => session.lock());

  readonly #persist = () =>
    this.#act(async () => {
      if (await session.askForPersistence()) return;
      throw Object.assign(new Error('The browser did not promise to keep the wallet’s storage.'), {
        code: 'not-persistent',
        next: 'Nothing is lost by it. Back up what matters and save the certificate file; browsers often agree later.',
      });
    });

  async #act(work: () => Promise<unknown>): Promise<void> {
    this.error = null;
    try {
      await work();
    } catch (thrown) {
      this.error = toEngineError(thrown);
    }
  }
}

function readRoute(): { page: string; id: string } {
  const [, page = 'values', id = ''] = location.hash.split('/');
  return { page: page || 'values', id: decodeURIComponent(id) };
}

function protectedIds(view: WalletView): string[] {
  return view.values.filter(({ backup }) => backup !== null).map(({ id }) => id);
}
