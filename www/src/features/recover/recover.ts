import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import type { ImportReport, ValueView, WalletView } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import { count, size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import '../../shared/progress.ts';
import { base } from '../../shared/styles.ts';
import { kinds, valueBadge } from '../../shared/words.ts';
import { givenForm } from './given.ts';
import './owner.ts';
import './return.ts';

/** Brings values back: certificates come in with a file, the content comes from the safes. */
@customElement('sr-recover')
export class Recover extends Page {
  static override styles = [
    base,
    css`
      .value {
        display: grid;
        gap: 0.75rem;
        /* Of a thousand rows a browser lays out those that are seen. */
        content-visibility: auto;
        contain-intrinsic-height: auto 7rem;
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
      .names {
        list-style: disc;
        padding-inline-start: 1.25rem;
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  @state() private report: ImportReport | null = null;
  /** Values whose recovery began on this visit: they stay listed once they are back. */
  @state() private begun: ReadonlySet<string> = new Set();

  protected override render(): TemplateResult {
    const values = this.view.values.filter(
      ({ id, backup, local, operation }) =>
        (backup !== null && !local) || operation?.gathering || this.begun.has(id),
    );
    const away = values.filter(({ local, operation }) => !local && operation === null);
    return html`<div class="stack">
      <div class="stack tight">
        <h1 tabindex="-1">Recover</h1>
        <p class="muted">Bring back what the safes keep for you.</p>
      </div>
      <section class="stack" aria-labelledby="list">
        <div class="row apart">
          <h2 id="list">Not on this device</h2>
          ${
            away.length > 1
              ? html`<button type="button" class="small" data-testid="recover-all" ?disabled=${this.busy} @click=${() => this.#recoverAll(away)}>
                  Recover all ${away.length}
                </button>`
              : nothing
          }
        </div>
        ${
          values.length === 0
            ? html`<p class="muted">
                ${
                  this.view.values.some(({ backup }) => backup !== null)
                    ? 'Every value that this wallet has certificates for is on this device.'
                    : 'This wallet has no certificates yet. If you saved a certificate file, open it below.'
                }
              </p>`
            : html`<ul class="stack">
                ${repeat(
                  values,
                  ({ id }) => id,
                  (value) => this.#value(value),
                )}
              </ul>`
        }
      </section>
      <sr-return .owner=${this.view.owner}></sr-return>
      ${this.#import()}
      <sr-owner .owner=${this.view.owner} .safes=${this.view.safes}></sr-owner>
      <p class="small muted">
        For the day when this site is gone: <a href="./recover.html" download="recover.html" data-testid="rescue-download">Download recover.html</a>,
        one file of less than a megabyte. Keep it beside your kit; opened from a disk, it brings everything back with your passphrase.
      </p>
    </div>`;
  }

  #value(value: ValueView): TemplateResult {
    const { operation } = value;
    return html`<li class="card value" data-testid="recover-row" data-value-id=${value.id} data-state=${value.state}>
      <div class="row apart">
        <div class="what">
          <span class="title">${value.title}</span>
          <span class="muted small">${kinds[value.kind]} · ${size(value.size)}</span>
        </div>
        ${
          operation
            ? valueBadge(value.state)
            : value.local
              ? html`<a class="button small" href="#/value/${encodeURIComponent(value.id)}"
                  >${icon('check')}Back on this device</a
                >`
              : html`<button
                  type="button"
                  class=${value.state === 'unrecoverable' ? '' : 'primary'}
                  data-testid="recover-start"
                  ?disabled=${this.busy}
                  @click=${() => this.#recover(value.id)}
                >
                  ${value.state === 'unrecoverable' ? 'Try anyway' : 'Recover'}
                  <span class="visually-hidden">${value.title}</span>
                </button>`
        }
      </div>
      ${
        operation
          ? html`<sr-progress .operation=${operation} .valueId=${value.id}></sr-progress>${givenForm(value)}`
          : html`<p class="small muted">${value.reason} ${value.nextStep ?? nothing}</p>`
      }
    </li>`;
  }

  #import(): TemplateResult {
    return html`<section class="card stack" aria-labelledby="import">
      <div class="stack tight">
        <h2 id="import">Open a certificate file</h2>
        <p class="muted">From another device, or from before this one was lost.</p>
      </div>
      <form class="stack" @submit=${this.#onImport}>
        <div class="stack tight">
          <label for="file">Certificate file</label>
          <input id="file" name="file" type="file" accept=".strongroom" data-testid="import-file" />
        </div>
        <div class="stack tight">
          <label for="passphrase">Passphrase of the file</label>
          <input
            id="passphrase"
            name="passphrase"
            type="password"
            autocomplete="off"
            data-testid="import-passphrase"
          />
        </div>
        ${this.errorBox()}
        <div>
          <button data-testid="import-submit" ?disabled=${this.busy}>${this.busy ? 'Opening…' : 'Open the file'}</button>
        </div>
      </form>
      <div role="status" data-testid="import-report" ?hidden=${this.report === null}>
        ${this.report ? reportText(this.report) : nothing}
      </div>
    </section>`;
  }

  /** Values that were backed up together come back together. */
  #recoverAll(values: ValueView[]): void {
    this.begun = new Set([...this.begun, ...values.map(({ id }) => id)]);
    const backups = Map.groupBy(values, ({ backup }) => backup?.id);
    void this.act(async () => {
      for (const together of backups.values()) await session.engine.recover(together.map(({ id }) => id));
    });
  }

  #recover(id: string): void {
    this.begun = new Set(this.begun).add(id);
    void this.act(() => session.engine.recover([id]));
  }

  #onImport(event: SubmitEvent): void {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const file = form.querySelector<HTMLInputElement>('#file')?.files?.[0];
    const passphrase = field(event, 'passphrase');
    this.report = null;
    void this.act(async () => {
      if (!file) {
        throw new EngineError({
          code: 'no-file',
          message: 'No file is chosen yet.',
          next: 'Choose a file whose name ends in .strongroom.',
        });
      }
      this.report = await session.engine.importCertificates(
        new Uint8Array(await file.arrayBuffer()),
        passphrase,
      );
      session.saved((await session.engine.view()).values);
      form.reset();
    });
  }
}

function reportText({ titles, safesAdded }: ImportReport): TemplateResult {
  return html`<div class="notice">
    ${icon('check')}
    <div class="stack tight">
      <p>The file has the certificates of ${count(titles.length, 'value')}:</p>
      <ul class="names">
        ${titles.map((title) => html`<li>${title}</li>`)}
      </ul>
      ${safesAdded.length > 0 ? html`<p class="small">Safes added to this wallet: ${safesAdded.join(', ')}.</p>` : nothing}
    </div>
  </div>`;
}
