import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import { shell } from '../app.styles.ts';
import type { CameBack, LookReport, PastHead, ValueView } from '../engine/api.ts';
import { givenForm } from '../features/recover/given.ts';
import '../features/recover/past.ts';
import type { Past } from '../features/recover/past.ts';
import '../features/value/content.ts';
import { isText } from '../features/value/content.ts';
import { download, fileName } from '../shared/download.ts';
import { count, size } from '../shared/format.ts';
import { icon } from '../shared/icons.ts';
import { errorNotice, field, Page } from '../shared/page.ts';
import '../shared/progress.ts';
import { base } from '../shared/styles.ts';
import { kinds, valueBadge } from '../shared/words.ts';
import { session } from './session.ts';

/** recover.html: who you are, the passphrase, and everything that the safes keep, in a tab that remembers nothing. */
@customElement('sr-rescue')
export class Rescue extends Page {
  static override styles = [
    base,
    shell,
    css`
      .choice {
        display: flex;
        gap: 0.625rem;
        align-items: center;
        min-height: 2rem;
      }
      fieldset {
        border: 0;
      }
      .what {
        display: grid;
        flex: 1 1 12rem;
        min-width: 0;
      }
      .title {
        font-weight: 600;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @state() private way: 'kit' | 'name' = 'kit';
  @state() private found: LookReport | null = null;
  @state() private back: CameBack | null = null;
  /** How the book stood before, once its owner has shown himself. */
  @state() private past: PastHead[] | null = null;
  /** What is shown is of an earlier day. */
  @state() private went = false;
  /** Values that are to be saved as soon as they are here. */
  @state() private saving: ReadonlySet<string> = new Set();
  /** Values that were saved. */
  @state() private saved: ReadonlySet<string> = new Set();

  override connectedCallback(): void {
    super.connectedCallback();
    session.addEventListener('change', this.#changed);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    session.removeEventListener('change', this.#changed);
  }

  readonly #changed = () => {
    this.requestUpdate();
    this.#saveWhatCame();
  };

  protected override render(): TemplateResult {
    return html`
      <header>
        <div class="bar">
          <span class="brand">${icon('safe')}Strongroom</span>
        </div>
      </header>
      <main class="stack">
        <div class="stack tight">
          <h1 tabindex="-1">Recover</h1>
          <p class="muted">
            Everything that your safes keep for you, without an installation. Nothing is stored on this machine: when this tab is closed, all
            of it is forgotten here.
          </p>
        </div>
        ${this.#body()}
      </main>
      <footer aria-label="About this page">
        <div class="stack tight">
          <p class="muted small">
            Passkeys and security keys do not work here: a browser ties them to the address of a site, and a file has none. Your safes’
            addresses are the only ones that this page asks.
          </p>
          <p class="muted small">
            On a machine that is not yours, save to your own USB stick, close this tab afterwards, and empty the clipboard.
          </p>
        </div>
      </footer>
    `;
  }

  #body(): TemplateResult {
    const { failure, view } = session;
    if (failure) return errorNotice(failure);
    if (!view) return html`<p class="muted" role="status">Opening…</p>`;
    return this.back ? this.#values(this.back, view.values) : this.#enter();
  }

  // ---- who it is ---------------------------------------------------------------------------------------------

  #enter(): TemplateResult {
    return html`<section class="card stack" aria-labelledby="who">
        <h2 id="who">Who you are</h2>
        <fieldset class="stack tight">
          <legend class="visually-hidden">What you have</legend>
          ${this.#choice('kit', 'I have a printed kit')} ${this.#choice('name', 'I know my recovery name')}
        </fieldset>
        ${this.way === 'kit' ? this.#kit() : this.#name()}
        ${this.found ? nothing : this.errorBox()}
      </section>
      ${this.found ? this.#passphrase(this.found) : nothing}`;
  }

  #choice(way: 'kit' | 'name', label: string): TemplateResult {
    return html`<label class="choice">
      <input type="radio" name="way" value=${way} .checked=${this.way === way} ?disabled=${this.busy}
        data-testid="rescue-way" data-way=${way} @change=${() => this.#choose(way)} />
      ${label}
    </label>`;
  }

  #choose(way: 'kit' | 'name'): void {
    this.way = way;
    this.found = null;
    this.past = null;
    this.error = null;
  }

  #kit(): TemplateResult {
    return html`<form class="stack" @submit=${this.#lookWithKit}>
      <div class="stack tight">
        <label for="kit">The text of the kit: what its QR code says, or as it is printed; spaces and lines do not matter</label>
        <textarea id="kit" name="kit" rows="5" autocomplete="off" autocapitalize="none" spellcheck="false" required data-testid="rescue-kit"></textarea>
      </div>
      ${this.#lookButton()}
    </form>`;
  }

  #name(): TemplateResult {
    return html`<form class="stack" @submit=${this.#lookForOwner}>
      <div class="stack tight">
        <label for="name">Recovery name</label>
        <input id="name" name="name" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="alice-7kq4m2" required data-testid="rescue-name" />
      </div>
      <div class="stack tight">
        <label for="addresses">Addresses of your safes, one a line</label>
        <textarea id="addresses" name="addresses" rows="5" autocomplete="off" autocapitalize="none" spellcheck="false" required data-testid="rescue-addresses"></textarea>
      </div>
      ${this.#lookButton()}
    </form>`;
  }

  #lookButton(): TemplateResult {
    return html`<div>
      <button class=${this.found ? '' : 'primary'} data-testid="rescue-look" ?disabled=${this.busy}>
        ${this.busy && !this.found ? 'Asking your safes…' : 'Ask your safes'}
      </button>
    </div>`;
  }

  #lookWithKit(event: SubmitEvent): void {
    event.preventDefault();
    const text = field(event, 'kit');
    this.#finding(() => session.engine.lookWithKit(text));
  }

  #lookForOwner(event: SubmitEvent): void {
    event.preventDefault();
    const name = field(event, 'name');
    const addresses = field(event, 'addresses')
      .split(/[\s,]+/)
      .filter(Boolean);
    this.#finding(() => session.engine.lookForOwner(name, addresses));
  }

  #finding(look: () => Promise<LookReport>): void {
    this.found = null;
    this.past = null;
    void this.act(async () => {
      this.found = await look();
    });
  }

  // ---- the passphrase ----------------------------------------------------------------------------------------

  #passphrase(found: LookReport): TemplateResult {
    const { name, threshold, seats, answered, silent, guesses, guessesEver, wait, kit } = found;
    return html`<section class="card stack" aria-labelledby="proof" data-testid="rescue-found" data-guesses=${guesses}>
      <h2 id="proof">Your passphrase</h2>
      <div class="notice">
        ${icon('check')}
        <div class="stack tight">
          <p>
            ${answered.length} of ${seats} safes know ${kit ? `the kit ${kit} of ${name}` : 'this name'}: ${answered.join(', ')}.
            ${threshold} are needed.
          </p>
          ${silent.length > 0 ? html`<p class="small">Nobody answered at ${silent.join(', ')}.</p>` : nothing}
          <p class="small">
            ${
              guesses > 0
                ? `${count(guesses, 'passphrase')} may be tried now. The right one costs nothing.`
                : wait === null || guessesEver === 0
                  ? 'No more passphrases are answered this way.'
                  : `No passphrase is answered now; the next one in ${count(Math.ceil(wait / 3600), 'hour')}.`
            }
          </p>
        </div>
      </div>
      <form class="stack" @submit=${this.#comeBack}>
        <div class="stack tight">
          <label for="recovery">Recovery passphrase</label>
          <input id="recovery" name="recovery" type="password" autocomplete="off" required data-testid="rescue-passphrase" />
        </div>
        ${this.errorBox()}
        <div>
          <button class="primary" data-testid="rescue-submit" ?disabled=${this.busy}>
            ${this.busy ? 'Asking your safes…' : 'Open'}
          </button>
          <button name="earlier" value="yes" data-testid="rescue-earlier" ?disabled=${this.busy}>As it was on an earlier day…</button>
        </div>
      </form>
      ${this.past ? html`<sr-past .past=${this.past} .busy=${this.busy} reads @choose=${this.#goBack}></sr-past>` : nothing}
    </section>`;
  }

  #comeBack(event: SubmitEvent): void {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const passphrase = field(event, 'recovery');
    const earlier = (event.submitter as HTMLButtonElement | null)?.name === 'earlier';
    void this.act(async () => {
      try {
        if (earlier) this.past = await session.engine.listPast(passphrase);
        else this.back = await session.engine.comeBack(passphrase);
      } finally {
        form.reset();
      }
    });
  }

  #goBack({ detail }: CustomEvent<Past>): void {
    void this.act(async () => {
      this.back = await session.engine.goBack(detail.which);
      this.went = true;
    });
  }

  // ---- what is there -----------------------------------------------------------------------------------------

  #values({ chapters, leftOut, wrong }: CameBack, values: ValueView[]): TemplateResult {
    const owner = session.view?.owner;
    const unread = owner?.unread ?? 0;
    const all = values.filter(isCalm);
    return html`<section class="stack" aria-labelledby="list" data-testid="rescue-back" data-unread=${unread}>
      <div class="row apart">
        <h2 id="list">What your safes keep for you</h2>
        ${
          all.length > 0
            ? html`<button type="button" class="primary" data-testid="rescue-save-all" ?disabled=${this.busy} @click=${this.#saveAll}>
                ${icon('download')}${all.length > 1 ? `Save all ${all.length}` : 'Save it'}
              </button>`
            : nothing
        }
      </div>
      ${
        chapters > 0 && unread > 0
          ? html`<p class="muted small" role="status">More of your book is being fetched. ${owner?.unreadTrouble.join('; ')}</p>`
          : nothing
      }
      ${leftOut > 0 ? html`<p class="small">${count(leftOut, 'backup')} had no room in the book; look for a certificate file, and open it in the wallet.</p>` : nothing}
      ${wrong.length > 0 ? html`<p class="small">These safes answered wrongly and were left out: ${wrong.join(', ')}.</p>` : nothing}
      ${this.errorBox()}
      ${
        this.saving.size > 0
          ? html`<p class="muted small" role="status">Each is saved as soon as it is here; your browser may ask whether it may save several files.</p>`
          : nothing
      }
      ${
        values.length === 0 && unread === 0
          ? html`<p class="muted">Your book has no backups.</p>`
          : html`<ul class="stack">
              ${repeat(
                values,
                ({ id }) => id,
                (value) => this.#value(value),
              )}
            </ul>`
      }
      <div class="notice">
        ${icon('info')}
        <div class="stack tight">
          <p>
            ${
              this.went
                ? 'Your devices stay as they are. What you get here of an earlier day your safes keep again, but your book does not name it: save it, or go back to that day in the wallet.'
                : 'Your devices stay as they are: this page leaves nothing at your safes, and on this machine only what you save.'
            }
          </p>
          <div>
            <button type="button" class="small" data-testid="rescue-forget" @click=${() => location.reload()}>Forget everything now</button>
          </div>
        </div>
      </div>
    </section>`;
  }

  #value(value: ValueView): TemplateResult {
    const { id, title, kind, size: bytes, operation, local, state: stands, reason, nextStep } = value;
    return html`<li class="card stack" data-testid="recover-row" data-value-id=${id} data-state=${stands} data-local=${local} data-saved=${this.saved.has(id)}>
      <div class="row apart">
        <div class="what">
          <span class="title">${title}</span>
          <span class="muted small">${kinds[kind]} · ${size(bytes)}${this.saved.has(id) ? ' · saved' : ''}</span>
        </div>
        ${
          operation
            ? valueBadge(stands)
            : local
              ? nothing
              : html`<button type="button" data-testid="recover-start" ?disabled=${this.busy} @click=${() => this.#get([id])}>
                  ${value.unique ? 'Claim it here' : stands === 'unrecoverable' ? 'Try anyway' : 'Get it'}
                  <span class="visually-hidden">${title}</span>
                </button>`
        }
      </div>
      ${
        operation
          ? html`<sr-progress .operation=${operation} .valueId=${id}></sr-progress>${givenForm(value)}`
          : local
            ? html`<sr-content .value=${value}></sr-content>`
            : stands === 'unrecoverable'
              ? html`<p class="small muted">${reason} ${nextStep ?? nothing}</p>`
              : nothing
      }
      ${
        value.unique && !operation
          ? html`<div class="notice warn">
              ${icon('alert')}
              <p class="small">
                ${
                  local
                    ? 'This may live only once, and is claimed by this tab. Save it before you close it: no other device gets it any more, unless you take it over there.'
                    : 'This may live only once. Whoever gets it claims it; your other devices are then refused. It is saved only if you ask for it here.'
                }
              </p>
            </div>`
          : nothing
      }
    </li>`;
  }

  /** Values that were backed up together come back together. */
  #get(ids: string[]): void {
    const wanted = (session.view?.values ?? []).filter(({ id, local }) => ids.includes(id) && !local);
    const backups = Map.groupBy(wanted, ({ backup }) => backup?.id);
    void this.act(async () => {
      for (const together of backups.values()) await session.engine.recover(together.map(({ id }) => id));
    });
  }

  readonly #saveAll = () => {
    const all = (session.view?.values ?? []).filter(isCalm);
    this.saving = new Set(all.map(({ id }) => id));
    this.#get(all.filter(({ operation }) => operation === null).map(({ id }) => id));
    this.#saveWhatCame();
  };

  /** One after the other: each is in this page's memory only while it is handed to the browser. */
  async #saveWhatCame(): Promise<void> {
    const here = session.view?.values.find(({ id, local }) => local && this.saving.has(id));
    if (!here) return;
    this.saving = without(this.saving, here.id);
    try {
      const bytes = await session.engine.reveal(here.id);
      download(here.fileName ?? fileName(here.title, isText(here) ? 'txt' : 'bin'), bytes);
      bytes.fill(0);
      this.saved = new Set(this.saved).add(here.id);
    } finally {
      await this.#saveWhatCame();
    }
  }
}

/** It may be fetched without asking: it lives as often as one likes. */
const isCalm = ({ unique, backup }: ValueView) => !unique && backup !== null;

const without = (set: ReadonlySet<string>, id: string) => new Set([...set].filter((one) => one !== id));
