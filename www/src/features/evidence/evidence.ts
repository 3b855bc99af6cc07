import { css, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Examination, Exhibit, Finding, KeptExhibit, WalletView } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import { download, fileName } from '../../shared/download.ts';
import { date, size, time } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base, facts } from '../../shared/styles.ts';
import { exhibits, findingBadge, kinds } from '../../shared/words.ts';

/** Looks into what safes signed, and says who is at fault. Works without a wallet, for whoever was shown a certificate. */
@customElement('sr-evidence')
export class Evidence extends Page {
  static override styles = [
    base,
    facts,
    css`
      .exhibit {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 0.75rem;
      }
      .verdict {
        overflow-wrap: anywhere;
      }
    `,
  ];

  /** A deposit of this wallet whose certificate is looked into. */
  @property() depositId = '';
  /** Null while the wallet is closed. */
  @property({ attribute: false }) view: WalletView | null = null;
  @state() private files: Uint8Array[] = [];
  @state() private found: Examination | null = null;

  protected override firstUpdated(): void {
    super.firstUpdated();
    if (!this.depositId) return;
    void this.act(async () => {
      await this.#look([await session.engine.certificate(this.depositId)]);
    });
  }

  protected override updated(changed: PropertyValues<this>): void {
    // What a closed wallet could read is not to be read any longer.
    if (changed.has('view') && changed.get('view') && !this.view) this.found = null;
  }

  protected override render(): TemplateResult {
    const { found } = this;
    const certificate = found?.exhibits.find(({ kind }) => kind === 'certificate');
    return html`<div class="stack">
      ${this.#way()}
      <div class="stack tight">
        <h1 tabindex="-1">Look into a certificate</h1>
        <p class="muted">
          What a safe has signed, in words; and who is at fault if it does not keep it. Files stay on this device. A safe hears
          of it only if you ask it.
        </p>
      </div>
      <section class="card stack tight">
        <label for="files">Certificates, receipts, testimonies, descriptors</label>
        <input id="files" type="file" multiple data-testid="evidence-files" @change=${this.#chosen} />
      </section>
      ${this.view && this.view.exhibits.length > 0 && !found ? this.#kept(this.view.exhibits) : nothing}
      ${this.errorBox()} ${found ? this.#verdict(found, certificate) : nothing}
      ${found?.exhibits.map((exhibit, at) => this.#exhibit(exhibit, at))}
    </div>`;
  }

  /** What failed before its backup was renewed. */
  #kept(exhibits: KeptExhibit[]): TemplateResult {
    return html`<section class="card stack" aria-labelledby="kept">
      <div class="stack tight">
        <h2 id="kept">Kept as evidence</h2>
        <p class="muted small">Certificates of pieces that were not shown. Their backups were renewed since.</p>
      </div>
      <ul class="stack tight">
        ${exhibits.map(
          ({
            depositId,
            nickname,
            title,
            what,
            since,
          }) => html`<li class="row apart" data-testid="kept-exhibit">
            <p class="small">
              <strong>${nickname}</strong> ${what}: a piece of “${title}”. <span class="muted">${date(since)}</span>
            </p>
            <span class="row">
              <a class="button small" href="#/evidence/${encodeURIComponent(depositId)}" data-testid="kept-look">Look into it</a>
              <button
                type="button"
                class="small quiet"
                data-testid="kept-drop"
                ?disabled=${this.busy}
                @click=${() => this.act(() => session.engine.dropExhibit(depositId))}
              >
                Forget it
              </button>
            </span>
          </li>`,
        )}
      </ul>
    </section>`;
  }

  #way(): TemplateResult {
    const value = this.view?.values.find(({ backup }) =>
      backup?.certificates.some(({ depositId }) => depositId === this.depositId),
    );
    if (value) {
      return html`<a class="up" href="#/value/${encodeURIComponent(value.id)}">${icon('back')}${value.title}</a>`;
    }
    return this.view
      ? html`<a class="up" href="#/safes">${icon('back')}Safes</a>`
      : html`<a class="up" href="#/values">${icon('back')}Your wallet</a>`;
  }

  #verdict({ finding, asked }: Examination, certificate: Exhibit | undefined): TemplateResult {
    if (!certificate) {
      return html`<p class="muted" role="status" data-testid="finding" data-code="nothing">
        There is no certificate here to judge by. Add the one that belongs to it.
      </p>`;
    }
    return html`<section class="card stack" aria-labelledby="finding">
      <h2 id="finding">Finding</h2>
      <div class="stack tight" role="status" data-testid="finding" data-code=${finding?.code ?? 'nothing'}>
        ${finding ? findingText(finding) : html`<p>The keys of this safe are not known here, so its signature cannot be checked.</p>`}
      </div>
      <div class="stack tight">
        <div>
          <button type="button" data-testid="evidence-ask" ?disabled=${this.busy} @click=${this.#ask}>
            ${this.busy ? 'Asking…' : asked ? 'Ask the safe again' : 'Ask the safe'}
          </button>
        </div>
        <p class="muted small">
          ${
            certificate.mine
              ? 'It has to sign what became of your piece. Its answer gives nothing away; keep it if it contradicts the certificate.'
              : `Asks ${certificate.url} for its keys. Only the wallet that made the deposit can demand a testimony.`
          }
        </p>
      </div>
    </section>`;
  }

  #exhibit(exhibit: Exhibit, at: number): TemplateResult {
    const { kind, nickname, face, verdict, leftOut } = exhibit;
    const fetched = at - this.files.length;
    const safe = nickname ?? exhibit.name;
    return html`<section class="card exhibit" data-testid="exhibit" data-kind=${kind}>
      <h2>${exhibits[kind]}</h2>
      ${kind === 'unknown' ? html`<p>This is nothing that a safe signs or serves, or it was altered.</p>` : nothing}
      ${verdict === null ? nothing : html`<p class="verdict">The safe states: ${verdict}.</p>`}
      ${
        leftOut === null
          ? nothing
          : html`<div class="notice warn">${icon('alert')}<p class="small">It does not count: ${leftOut}.</p></div>`
      }
      <dl>
        ${face ? faceRows(face) : sealed(kind)}
        ${line('Safe', safe)} ${line('Fingerprint', exhibit.fingerprint, true)} ${line('Address', exhibit.url)}
        ${line('Deposit', exhibit.depositId, true)}
        ${line('Size', exhibit.length === null ? null : size(exhibit.length))} ${line('Digest', exhibit.root, true)}
        ${line(issuedWord[kind] ?? 'Issued', exhibit.issued === null ? null : time(exhibit.issued))}
        ${line('Kept until', exhibit.leaseEnd === null ? null : date(exhibit.leaseEnd))}
        ${line('Signed with', exhibit.entry === null ? null : `key ${exhibit.entry} of the safe`)}
        ${line('Lives once', exhibit.unique ? 'it goes to the device that claimed it' : null)}
      </dl>
      ${
        fetched >= 0
          ? html`<div>
              <button type="button" class="small" data-testid="exhibit-save" @click=${() => this.#save(exhibit, fetched)}>
                ${icon('download')}Save it as evidence
              </button>
            </div>`
          : nothing
      }
    </section>`;
  }

  #save({ kind, nickname, name }: Exhibit, fetched: number): void {
    const bytes = this.found?.fetched[fetched];
    const extension = kind === 'descriptor' ? 'cbor' : 'cose';
    if (bytes) download(fileName(`${kind} ${nickname ?? name ?? ''}`, extension), bytes);
  }

  #chosen(event: Event): void {
    const chosen = [...((event.target as HTMLInputElement).files ?? [])];
    void this.act(async () => {
      await this.#look(await Promise.all(chosen.map(read)));
    });
  }

  readonly #ask = () =>
    this.act(async () => {
      this.found = await session.engine.examine(this.files, true);
    });

  async #look(files: Uint8Array[]): Promise<void> {
    this.found = null;
    this.files = files;
    if (files.length > 0) this.found = await session.engine.examine(files, false);
  }
}

/** No file of a safe is longer; the engine has the exact bound, but a whole film need not get as far as there. */
const MOST = 1024 ** 2;

async function read(file: File): Promise<Uint8Array> {
  if (file.size > MOST) {
    throw new EngineError({
      code: 'too-large',
      message: `${file.name} is too large to be one of these.`,
      next: 'A certificate has two kilobytes at most.',
    });
  }
  return new Uint8Array(await file.arrayBuffer());
}

const issuedWord: Partial<Record<Exhibit['kind'], string>> = { receipt: 'Released', testimony: 'Stated' };

function findingText(finding: Finding): TemplateResult {
  const { text, at } = finding;
  return html`<div>${findingBadge(finding)}</div>
    <p>${text.charAt(0).toUpperCase()}${text.slice(1)}${at === null ? '' : ` (${time(at)})`}.</p>`;
}

function faceRows({ readable, title, kind, date: made, hint }: NonNullable<Exhibit['face']>): TemplateResult {
  return html`${line('Stands for', title)} ${line('Kind', kinds[kind as keyof typeof kinds] ?? kind)}
    ${line('Made', date(made))} ${line('Hint', hint)}
    ${line('Readable', readable ? 'for everybody' : 'for your wallet only')}`;
}

function sealed(kind: Exhibit['kind']): TemplateResult | typeof nothing {
  return kind === 'certificate' || kind === 'offer'
    ? line('Stands for', 'sealed; only the wallet that made it can read that')
    : nothing;
}

function line(term: string, text: string | null, mono = false): TemplateResult | typeof nothing {
  return text === null ? nothing : html`<dt>${term}</dt><dd class=${mono ? 'mono' : ''}>${text}</dd>`;
}
