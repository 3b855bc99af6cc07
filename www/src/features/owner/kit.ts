import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { KitReport, WalletView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { date } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { qr } from '../../shared/qr.ts';
import { base } from '../../shared/styles.ts';

/** Characters of a line of the text, as it is typed again from paper: four groups of eight. */
const GROUP = 8;

/** The text in groups, so that whoever types it keeps the place. */
const groups = (text: string): string[] => text.match(new RegExp(`.{1,${GROUP}}`, 'g')) ?? [];

/** One page of paper: made and tried here, printed by the browser, and counted once its owner has read its code from the paper. */
@customElement('sr-kit')
export class Kit extends Page {
  static override styles = [
    base,
    css`
      .sheet {
        display: grid;
        gap: 1rem;
        padding: 1.5rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        /* Paper is white in every theme. */
        background: #fff;
        color: #111;
      }
      .sheet .faint {
        color: #444;
      }
      .head {
        display: flex;
        flex-wrap: wrap;
        gap: 0.5rem 1.5rem;
        justify-content: space-between;
        align-items: baseline;
      }
      .code {
        font: 620 1.5rem / 1.2 var(--mono);
        letter-spacing: 0.1em;
      }
      .name {
        font-size: 1.25rem;
        font-weight: 620;
        overflow-wrap: anywhere;
      }
      .sides {
        display: grid;
        grid-template-columns: minmax(0, 3fr) minmax(0, 2fr);
        gap: 1.5rem;
      }
      .sheet ul,
      .sheet ol {
        display: grid;
        gap: 0.25rem;
        padding-inline-start: 1.25rem;
      }
      .sheet ul {
        list-style: disc;
      }
      .sheet ol {
        list-style: decimal;
      }
      .url {
        overflow-wrap: anywhere;
      }
      .text {
        display: flex;
        flex-wrap: wrap;
        gap: 0.125rem 0.75ch;
        font: 0.75rem / 1.5 var(--mono);
      }
      .blank {
        height: 2.25rem;
        border-bottom: 1px solid #111;
      }
      .ask {
        max-width: 26rem;
      }
      @media (max-width: 40rem) {
        .sheet {
          padding: 1rem;
        }
        .sides {
          grid-template-columns: minmax(0, 1fr);
        }
      }
      @media print {
        .screen {
          display: none !important;
        }
        .sheet {
          padding: 0;
          border: 0;
        }
        .sides {
          grid-template-columns: minmax(0, 3fr) minmax(0, 2fr);
        }
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  @state() private made: KitReport | null = null;
  @state() private saved = false;

  protected override render(): TemplateResult {
    const { owner } = this.view;
    return html`<div class="stack" data-testid="kit" data-state=${this.saved ? 'saved' : this.made ? 'made' : 'none'}>
      <div class="stack tight screen">
        <h1 tabindex="-1">Printed kit</h1>
        <p class="muted">
          One page of paper. With it and your recovery passphrase you come back even if you forget your recovery name, or if strangers
          have used up its guesses.
        </p>
      </div>
      ${
        !owner?.enrolled
          ? html`<p class="notice screen">${icon('info')}Enrol at safes first, under <a href="#/recover">Recover</a>.</p>`
          : html`${this.#status()} ${this.made ? this.#print(this.made) : this.#begin()}`
      }
    </div>`;
  }

  #status(): TemplateResult | typeof nothing {
    const kit = this.view.owner?.kit;
    if (!kit || (this.made && !this.saved)) return nothing;
    return kit.stale
      ? html`<div class="notice warn screen" role="status" data-testid="kit-status" data-stale="true">
          ${icon('alert')}
          <div>
            <p>The kit <strong>${kit.code}</strong> of ${date(kit.made)} does not fit any more. ${kit.stale}</p>
            <p class="small">Print a new one, and destroy the old paper.</p>
          </div>
        </div>`
      : html`<div class="notice screen" role="status" data-testid="kit-status" data-stale="false">
          ${icon('check')}
          <p>The kit <strong>${kit.code}</strong>, printed on ${date(kit.made)}, is the one that counts. Any other paper is worthless.</p>
        </div>`;
  }

  #begin(): TemplateResult {
    return html`<form class="card stack ask screen" @submit=${this.#make}>
      <div class="stack tight">
        <label for="passphrase">Recovery passphrase</label>
        <input id="passphrase" name="passphrase" type="password" autocomplete="current-password" required data-testid="kit-passphrase" />
        <p class="muted small">The kit is tried before you print it, as you would use it later. The passphrase does not stand on it.</p>
      </div>
      <div><button class="primary" data-testid="kit-make" ?disabled=${this.busy}>${this.busy ? 'Making and trying it…' : 'Make a kit'}</button></div>
      ${this.errorBox()}
    </form>`;
  }

  #print(kit: KitReport): TemplateResult {
    return html`${
      this.saved
        ? nothing
        : html`<div class="card stack screen">
            <p>
              It was tried: with it and your passphrase your safes gave back what opens your book.
              ${kit.silent.length > 0 ? html`These did not answer and do not know it: ${kit.silent.join(', ')}.` : nothing}
            </p>
            <div class="row">
              <button type="button" class="primary" data-testid="kit-print" @click=${() => print()}>Print, or save as PDF</button>
            </div>
            <form class="stack tight ask" @submit=${this.#confirm}>
              <label for="code">Read the code from the paper and type it here</label>
              <input id="code" name="code" autocomplete="off" autocapitalize="none" spellcheck="false" required data-testid="kit-code" />
              <p class="muted small">From then on this kit is the one that counts, and the one before it is worthless.</p>
              <div><button data-testid="kit-confirm" ?disabled=${this.busy}>${this.busy ? 'Telling your safes…' : 'I have it on paper'}</button></div>
            </form>
            ${this.errorBox()}
          </div>`
    }
    ${this.#sheet(kit)}`;
  }

  #sheet({ text, code, name, generation, threshold, made, leaseEnd, safes }: KitReport): TemplateResult {
    return html`<article class="sheet" aria-label="Kit ${code}" data-testid="kit-sheet" data-code=${code}>
      <div class="head">
        <div>
          <h2>Strongroom recovery kit</h2>
          <p class="faint small">Made on ${date(made)} · enrolment ${generation}${leaseEnd === null ? nothing : html` · your safes have promised to keep everything until ${date(leaseEnd)}`}</p>
        </div>
        <p class="code" data-testid="kit-sheet-code">${code}</p>
      </div>
      <div class="sides">
        <div class="stack">
          <div>
            <p class="faint small">Recovery name</p>
            <p class="name">${name}</p>
          </div>
          <div>
            <p class="faint small">Safes; any ${threshold} of them must answer</p>
            <ul>
              ${safes.map(({ name: nickname, url }) => html`<li>${nickname} <span class="url">${url}</span></li>`)}
            </ul>
          </div>
          <div>
            <p class="faint small">How to come back</p>
            <ol class="small">
              <li>Open Strongroom, or the file recover.html, on any device, make a wallet, and choose “Recover”.</li>
              <li>Choose “I have a printed kit” and scan the code, or type the text below.</li>
              <li>Enter your recovery passphrase. It does not stand here: without it nobody can do anything with this paper.</li>
            </ol>
          </div>
          <div>
            <p class="faint small">A hint to the passphrase, if you want one, by hand and understood by you only</p>
            <p class="blank"></p>
          </div>
        </div>
        <div>${qr(text, 'The kit as a QR code')}</div>
      </div>
      <p class="text" aria-label="The kit as text" data-testid="kit-text" data-text=${text}>
        ${groups(text).map((group) => html`<span>${group}</span> `)}
      </p>
      <div class="small">
        <p>
          Whoever finds it can try a few passphrases, ten at once and then one a day, and no more. Keep it apart from your devices: at
          home in a safe place, with somebody whom you trust, or in a bank’s safe. The page says whether the kit
          <strong>${code}</strong> still fits; if it does not, print a new one and destroy this.
        </p>
      </div>
    </article>`;
  }

  #make(event: SubmitEvent): void {
    event.preventDefault();
    const passphrase = field(event, 'passphrase');
    this.saved = false;
    void this.act(async () => {
      this.made = await session.engine.makeKit(passphrase);
    });
  }

  #confirm(event: SubmitEvent): void {
    event.preventDefault();
    const code = field(event, 'code');
    void this.act(async () => {
      await session.engine.confirmKit(code);
      this.saved = true;
    });
  }
}
