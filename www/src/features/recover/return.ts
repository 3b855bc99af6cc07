import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { CameBack, LookReport, OwnerView, PastHead } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { count } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { thisDevice } from '../owner/label.ts';
import { answer, discover, obstacle, wipe } from '../unlock/webauthn.ts';
import './past.ts';
import type { Past } from './past.ts';

/** Coming back on a new device: name and safes first, which costs nothing; then the passphrase, which costs a guess. */
@customElement('sr-return')
export class Return extends Page {
  static override styles = [
    base,
    css`
      .names {
        list-style: disc;
        padding-inline-start: 1.25rem;
      }
      summary {
        cursor: pointer;
        font-weight: 550;
      }
      details form {
        margin-top: 0.75rem;
      }
    `,
  ];

  /** Who is enrolled on this device already. */
  @property({ attribute: false }) owner: OwnerView | null = null;
  @state() private found: LookReport | null = null;
  @state() private back: CameBack | null = null;
  /** How the book stood before, once its owner has shown himself. */
  @state() private past: PastHead[] | null = null;
  /** He has gone back to one of these. */
  @state() private went = false;
  /** The passkey that has said whose it is. */
  @state() private device: string | null = null;
  readonly #obstacle = obstacle();
  readonly #leaving = new AbortController();

  protected override firstUpdated(): void {}

  protected override render(): TemplateResult {
    const { owner } = this;
    if (this.back) return this.went ? this.#taken(this.back) : this.#report(this.back);
    const again = owner?.superseded || owner?.seats.some(({ known }) => !known);
    if (owner && !again) return owner.enrolled ? this.#earlier(owner) : html`${nothing}`;
    return html`<section class="card stack" aria-labelledby="return">
      <div class="stack tight">
        <h2 id="return">Come back with your recovery name</h2>
        <p class="muted">
          ${
            owner?.superseded
              ? 'To keep the book on this device again.'
              : owner
                ? 'Once more, for the safes that were away: they do not know this device yet.'
                : 'From a device that you no longer have.'
          }
        </p>
      </div>
      <form class="stack" @submit=${this.#look}>
        <div class="stack tight">
          <label for="name">Recovery name</label>
          <input id="name" name="name" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="alice-7kq4m2" required data-testid="return-name" />
        </div>
        <div class="stack tight">
          <label for="addresses">Addresses of your safes, one a line</label>
          <textarea id="addresses" name="addresses" rows="5" autocapitalize="none" spellcheck="false" required data-testid="return-addresses"></textarea>
        </div>
        <div>
          <button data-testid="return-look" ?disabled=${this.busy}>${this.busy && !this.found ? 'Looking…' : 'Look for it'}</button>
        </div>
      </form>
      <details data-testid="return-kit-open">
        <summary>I have a printed kit</summary>
        <form class="stack" @submit=${this.#lookWithKit}>
          <div class="stack tight">
            <label for="kit">What its QR code says, or its text; spaces and lines do not matter</label>
            <textarea id="kit" name="kit" rows="5" autocapitalize="none" autocomplete="off" spellcheck="false" required data-testid="return-kit"></textarea>
          </div>
          <div><button data-testid="return-kit-look" ?disabled=${this.busy}>Look for it</button></div>
        </form>
      </details>
      <details data-testid="return-device-open">
        <summary>I have a passkey or security key</summary>
        ${
          this.#obstacle
            ? html`<p class="muted small">${this.#obstacle}</p>`
            : html`<form class="stack" @submit=${this.#lookForDevice}>
                <div class="stack tight">
                  <label for="device-addresses">Addresses of your safes, one a line</label>
                  <textarea id="device-addresses" name="addresses" rows="5" autocapitalize="none" spellcheck="false" required data-testid="return-device-addresses"></textarea>
                </div>
                <div><button data-testid="return-device" ?disabled=${this.busy}>${icon('key')}Ask the key whose it is</button></div>
              </form>`
        }
      </details>
      ${this.found ? (this.device ? this.#touch(this.found) : this.#ask(this.found)) : nothing}
      ${this.found ? this.#choice() : nothing} ${this.errorBox()}
    </section>`;
  }

  /** On a device that is enrolled: something is gone from it, and from the safes. */
  #earlier({ takingBack, takingBackWaits }: OwnerView): TemplateResult {
    return html`<section class="card stack" aria-labelledby="earlier" data-testid="earlier" data-taking-back=${takingBack} data-waits=${takingBackWaits}>
      <div class="stack tight">
        <h2 id="earlier">Something was deleted, or a device was stolen</h2>
        <p class="muted">
          What a device of yours lets go, your safes keep for seven more days, and how your book stood. Only your passphrase brings it back: whoever has a
          device of yours cannot.
        </p>
      </div>
      ${
        takingBack > 0
          ? html`<p role="status" data-testid="taking-back">
              ${
                takingBackWaits
                  ? `${count(takingBack, 'backup')} may still be gone: the wallet was locked, or another window went on with it, before all was taken back. Choose the same day once more.`
                  : `${count(takingBack, 'backup')} still to be taken back. It goes on as long as the wallet is open.`
              }
            </p>`
          : nothing
      }
      ${
        this.past
          ? nothing
          : html`<form class="stack" @submit=${this.#listPast}>
              <div class="stack tight">
                <label for="earlier-passphrase">Recovery passphrase</label>
                <input id="earlier-passphrase" name="recovery" type="password" autocomplete="off" required data-testid="earlier-passphrase" />
              </div>
              <div><button data-testid="earlier-list" ?disabled=${this.busy}>${this.busy ? 'Asking your safes…' : 'See the last seven days'}</button></div>
            </form>`
      }
      ${this.#choice()} ${this.errorBox()}
    </section>`;
  }

  #choice(): TemplateResult | typeof nothing {
    if (!this.past) return nothing;
    return html`<sr-past .past=${this.past} .busy=${this.busy} @choose=${this.#goBack}></sr-past>`;
  }

  #touch({ threshold, seats, answered, silent }: LookReport): TemplateResult {
    return html`<div class="stack" data-testid="return-found">
      <div class="notice">
        ${icon('check')}
        <div class="stack tight">
          <p>
            ${answered.length} of ${seats} safes know this key, and have shown that they are yours: ${answered.join(', ')}. ${threshold} are
            needed.
          </p>
          ${silent.length > 0 ? html`<p class="small">Nobody answered at ${silent.join(', ')}.</p>` : nothing}
        </div>
      </div>
      <div>
        <button type="button" class="primary" data-testid="return-device-submit" ?disabled=${this.busy} @click=${this.#comeBackWithDevice}>
          ${this.busy ? 'Asking the key and your safes…' : 'Come back'}
        </button>
        <button type="button" data-testid="return-device-earlier" ?disabled=${this.busy} @click=${this.#listPastWithDevice}>
          Go back to an earlier day…
        </button>
      </div>
    </div>`;
  }

  #ask({
    name,
    threshold,
    seats,
    answered,
    silent,
    guesses,
    guessesEver,
    wait,
    kit,
  }: LookReport): TemplateResult {
    return html`<div class="stack" data-testid="return-found" data-guesses=${guesses}>
      <div class="notice">
        ${icon('check')}
        <div class="stack tight">
          <p>${answered.length} of ${seats} safes know ${kit ? html`the kit ${kit} of ${name}` : 'this name'}: ${answered.join(', ')}. ${threshold} are needed.</p>
          ${silent.length > 0 ? html`<p class="small">Nobody answered at ${silent.join(', ')}.</p>` : nothing}
          <p class="small" data-testid="return-guesses">
            ${
              guesses > 0
                ? `${count(guesses, 'passphrase')} may be tried now. The right one costs nothing.`
                : wait === null || guessesEver === 0
                  ? 'No more passphrases are answered. Use another device that is enrolled.'
                  : `No passphrase is answered now; the next one in ${Math.ceil(wait / 3600)} hours.`
            }
          </p>
        </div>
      </div>
      <form class="stack" @submit=${this.#comeBack}>
        <div class="stack tight">
          <label for="recovery">Recovery passphrase</label>
          <input id="recovery" name="recovery" type="password" autocomplete="off" required data-testid="return-passphrase" />
        </div>
        <div>
          <button class="primary" data-testid="return-submit" ?disabled=${this.busy}>
            ${this.busy ? 'Asking your safes…' : 'Come back'}
          </button>
          <button name="earlier" value="yes" data-testid="return-earlier" ?disabled=${this.busy}>Go back to an earlier day…</button>
        </div>
        <p class="small muted">To an earlier day, if somebody has deleted something, or had a device of yours in the last seven days.</p>
      </form>
    </div>`;
  }

  #report({ values, chapters, leftOut, wrong }: CameBack): TemplateResult {
    return html`<div class="notice" role="status" data-testid="return-report">
      ${icon('check')}
      <div class="stack tight">
        <p>You are back. ${
          values.length > 0
            ? `Your book has ${count(values.length, 'value')}${chapters > 0 ? ', and more that is being fetched' : ''}:`
            : chapters > 0
              ? 'Your book is being fetched.'
              : 'Your book has no backups yet.'
        }</p>
        <ul class="names">
          ${values.map((title) => html`<li>${title}</li>`)}
        </ul>
        ${leftOut > 0 ? html`<p class="small">${count(leftOut, 'backup')} had no room in it; look for a certificate file.</p>` : nothing}
        ${wrong.length > 0 ? html`<p class="small">These safes answered wrongly and were left out: ${wrong.join(', ')}.</p>` : nothing}
        <p class="small">Your old device no longer keeps this book. Recover what you need above.</p>
        <p class="small">Then, in this order:</p>
        <ol class="names small" data-testid="return-next">
          <li>If somebody may have your old device, revoke it under <a href="#/returning">Ways to come back</a>, and renew what is backed up.</li>
          <li>See under <a href="#/safes">Safes</a> that they still show every piece.</li>
          <li><a href="#/kit">Print a kit</a>, so that you come back the next time, too.</li>
        </ol>
      </div>
    </div>`;
  }

  /** What was let go since the chosen day is on its way back. */
  #taken({ values, wrong }: CameBack): TemplateResult {
    const left = this.owner?.takingBack ?? 0;
    return html`<div class="notice" role="status" data-testid="return-report" data-taking-back=${left}>
      ${icon('check')}
      <div class="stack tight">
        <p>
          You have gone back to that day.
          ${
            left > 0
              ? `${count(left, 'part')} of what stood there may have been let go since, and your safes are asked to take that back. Leave this page open.`
              : 'What your safes had let go of it, and still had, is taken back.'
          }
        </p>
        <p class="small">
          Your book of that day and of now has ${count(values.length, 'value')}. What could not be taken back says so above.
        </p>
        ${wrong.length > 0 ? html`<p class="small">These safes answered wrongly and were left out: ${wrong.join(', ')}.</p>` : nothing}
        <p class="small">Then, in this order:</p>
        <ol class="names small" data-testid="return-next">
          <li>If somebody has a device of yours, say so under <a href="#/returning">Ways to come back</a>: it is shut out, and everything is protected anew.</li>
          <li>See under <a href="#/safes">Safes</a> that they show every piece.</li>
        </ol>
      </div>
    </div>`;
  }

  #look(event: SubmitEvent): void {
    event.preventDefault();
    const name = field(event, 'name');
    const addresses = addressesOf(event);
    this.#finding(() => session.engine.lookForOwner(name, addresses));
  }

  #lookWithKit(event: SubmitEvent): void {
    event.preventDefault();
    const text = field(event, 'kit');
    this.#finding(() => session.engine.lookWithKit(text));
  }

  #lookForDevice(event: SubmitEvent): void {
    event.preventDefault();
    const addresses = addressesOf(event);
    this.#finding(async () => {
      const { id, handle } = await discover(this.#leaving.signal);
      const found = await session.engine.lookForDevice(handle, addresses);
      this.device = id;
      return found;
    });
  }

  #finding(look: () => Promise<LookReport>): void {
    this.found = null;
    this.device = null;
    this.past = null;
    void this.act(async () => {
      this.found = await look();
    });
  }

  #comeBack(event: SubmitEvent): void {
    event.preventDefault();
    if ((event.submitter as HTMLButtonElement | null)?.name === 'earlier') {
      this.#listPast(event);
      return;
    }
    const passphrase = field(event, 'recovery');
    void this.act(async () => {
      this.back = await session.engine.comeBack(passphrase, thisDevice());
    });
  }

  #listPast(event: SubmitEvent): void {
    event.preventDefault();
    const passphrase = field(event, 'recovery');
    void this.act(async () => {
      this.past = await session.engine.listPast(passphrase);
    });
  }

  #listPastWithDevice(): void {
    this.#asking(async (output) => {
      this.past = await session.engine.listPastWithDevice(output);
    });
  }

  #goBack({ detail: { which, exactly } }: CustomEvent<Past>): void {
    void this.act(async () => {
      this.back = await session.engine.goBack(which, exactly, thisDevice());
      this.past = null;
      this.went = true;
    });
  }

  #comeBackWithDevice(): void {
    this.#asking(async (output) => {
      this.back = await session.engine.comeBackWithDevice(output, thisDevice());
    });
  }

  /** Asks the passkey for its output, which is wiped after it was used. */
  #asking(use: (output: Uint8Array) => Promise<void>): void {
    const id = this.device;
    if (id === null) return;
    void this.act(async () => {
      const input = new Uint8Array(await session.engine.deviceInput());
      const output = await answer(id, input, this.#leaving.signal);
      try {
        await use(output);
      } finally {
        wipe(output);
      }
    });
  }
}

function addressesOf(event: SubmitEvent): string[] {
  return field(event, 'addresses')
    .split(/[\s,]+/)
    .filter(Boolean);
}
