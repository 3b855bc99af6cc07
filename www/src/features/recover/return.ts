import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { CameBack, LookReport, OwnerView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { count } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';

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
    `,
  ];

  /** Who is enrolled on this device already. */
  @property({ attribute: false }) owner: OwnerView | null = null;
  @state() private found: LookReport | null = null;
  @state() private back: CameBack | null = null;

  protected override firstUpdated(): void {}

  protected override render(): TemplateResult {
    if (this.back) return this.#report(this.back);
    const { owner } = this;
    const again = owner?.superseded || owner?.seats.some(({ known }) => !known);
    if (owner && !again) return html`${nothing}`;
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
      ${this.found ? this.#ask(this.found) : nothing} ${this.errorBox()}
    </section>`;
  }

  #ask({ threshold, seats, answered, silent, guesses, guessesEver, wait }: LookReport): TemplateResult {
    return html`<div class="stack" data-testid="return-found" data-guesses=${guesses}>
      <div class="notice">
        ${icon('check')}
        <div class="stack tight">
          <p>${answered.length} of ${seats} safes know this name: ${answered.join(', ')}. ${threshold} are needed.</p>
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
        </div>
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
      </div>
    </div>`;
  }

  #look(event: SubmitEvent): void {
    event.preventDefault();
    const name = field(event, 'name');
    const addresses = field(event, 'addresses')
      .split(/[\s,]+/)
      .filter(Boolean);
    this.found = null;
    void this.act(async () => {
      this.found = await session.engine.lookForOwner(name, addresses);
    });
  }

  #comeBack(event: SubmitEvent): void {
    event.preventDefault();
    const passphrase = field(event, 'recovery');
    void this.act(async () => {
      this.back = await session.engine.comeBack(passphrase);
    });
  }
}
