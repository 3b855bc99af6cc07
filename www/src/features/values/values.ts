import { html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { keyed } from 'lit/directives/keyed.js';
import { repeat } from 'lit/directives/repeat.js';
import type { ValueView, WalletView } from '../../engine/api.ts';
import { count, size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { kinds, operations, valueBadge } from '../../shared/words.ts';
import './add.ts';
import { list } from './values.styles.ts';

/** The list of values; files may be dropped and text pasted anywhere on it. */
@customElement('sr-values')
export class Values extends Page {
  static override styles = [base, list];

  @property({ attribute: false }) view!: WalletView;
  /** How many values have certificates that only this device has. */
  @property({ type: Number }) unsaved = 0;
  /** What waits to be added: an empty text when the owner is going to type it. One form at a time, the first of the row. */
  @state() private pending: { given: File | string }[] = [];
  @state() private dragging = false;

  override connectedCallback(): void {
    super.connectedCallback();
    for (const type of ['dragenter', 'dragover', 'dragleave', 'drop'] as const)
      addEventListener(type, this.#dragged);
    addEventListener('paste', this.#pasted);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const type of ['dragenter', 'dragover', 'dragleave', 'drop'] as const)
      removeEventListener(type, this.#dragged);
    removeEventListener('paste', this.#pasted);
    this.pending = [];
  }

  protected override render(): TemplateResult {
    const { values, safes } = this.view;
    const first = this.pending[0];
    return html`<div class="stack">
      <div class="row apart">
        <div>
          <h1 tabindex="-1">Values</h1>
          ${values.length > 0 ? html`<p class="muted small">${this.#summary()}</p>` : nothing}
        </div>
        <button
          type="button"
          class=${safes.length > 1 || values.length > 0 ? 'primary' : ''}
          data-testid="value-add"
          @click=${() => this.#take([''])}
        >
          ${icon('plus')}Add a value
        </button>
      </div>
      ${this.#guide()} ${this.unsaved > 0 ? this.#reminder() : nothing}
      ${
        values.length === 0
          ? nothing
          : html`<ul class="values" aria-label="Your values">
              ${repeat(
                values,
                ({ id }) => id,
                (value) => this.#value(value),
              )}
            </ul>`
      }
      ${
        values.length > 0
          ? html`<p class="muted small drop-hint">You can also drop a file on this page, or paste.</p>`
          : nothing
      }
    </div>
    ${this.dragging ? html`<div class="drop"><p>${icon('file')}Drop it here to add it</p></div>` : nothing}
    ${
      first === undefined
        ? nothing
        : keyed(
            first,
            html`<sr-add .given=${first.given} @dismiss=${() => {
              this.pending = this.pending.filter((item) => item !== first);
            }}></sr-add>`,
          )
    }`;
  }

  #summary(): string {
    const { values } = this.view;
    const safe = values.filter(({ state }) => state === 'protected' || state === 'moved').length;
    if (safe === values.length) return `${count(safe, 'value')}, all backed up`;
    return `${count(values.length, 'value')}, ${safe} backed up`;
  }

  /** The way from an empty wallet to a first backup; gone once it has been walked. */
  #guide(): TemplateResult | typeof nothing {
    const { values, safes } = this.view;
    if (values.some(({ backup }) => backup !== null)) return nothing;
    const enough = safes.length >= 3;
    const local = values.find(({ backup, local }) => local && backup === null);
    return html`<section class="card" aria-labelledby="guide">
      <h2 id="guide">${values.length === 0 && safes.length === 0 ? 'Three steps to your first backup' : 'Next steps'}</h2>
      <ol class="guide">
        <li class=${enough ? 'done' : ''}>
          <h3>Add safes ${enough ? html`<span class="visually-hidden">(done)</span>` : nothing}</h3>
          <p class="muted small">
            Independent keepers, each with its own address. Three or more, so that one may fail.
            ${safes.length > 0 ? `You have ${count(safes.length, 'safe')}.` : nothing}
          </p>
          ${enough ? nothing : html`<a class="button small ${safes.length === 0 ? 'primary' : ''}" href="#/safes">Add safes</a>`}
        </li>
        <li class=${values.length > 0 ? 'done' : ''}>
          <h3>Add a value ${values.length > 0 ? html`<span class="visually-hidden">(done)</span>` : nothing}</h3>
          <p class="muted small">
            Type it, paste it, or drop a file of up to 16 MiB anywhere on this page. It stays on this device, sealed.
          </p>
        </li>
        <li>
          <h3>Back it up</h3>
          <p class="muted small">
            It is encrypted here, then spread over the safes. Each signs a certificate for what it took.
          </p>
          ${
            local && safes.length > 1
              ? html`<a class="button small primary" href="#/value/${encodeURIComponent(local.id)}">Back up “${local.title}”</a>`
              : nothing
          }
        </li>
      </ol>
    </section>`;
  }

  /** Backups are no help against the loss of the device while their certificates are on it alone. */
  #reminder(): TemplateResult {
    return html`<div class="notice" role="status">
      ${icon('certificate')}
      <div class="stack tight">
        <p>
          ${count(this.unsaved, 'value')} newly backed up. Save the certificate file and keep it apart from this device: with it
          you get your values back even if the device is lost.
        </p>
        <div>
          <button
            type="button"
            class="small primary"
            data-testid="export-reminder"
            @click=${() => this.dispatchEvent(new Event('export'))}
          >
            Save certificate file
          </button>
        </div>
      </div>
    </div>`;
  }

  #value(value: ValueView): TemplateResult {
    const { operation } = value;
    return html`<li>
      <a
        href="#/value/${encodeURIComponent(value.id)}"
        data-testid="value-row"
        data-value-id=${value.id}
        data-state=${value.state}
      >
        <span class="kind">${icon(value.kind)}</span>
        <span class="what">
          <span class="title">${value.title}</span>
          <span class="muted small">${kinds[value.kind]} · ${size(value.size)}${value.tags.map((tag) => ` · #${tag}`)}</span>
        </span>
        ${valueBadge(value.state)}
        <span class="reason small ${value.state === 'at-risk' || value.state === 'unrecoverable' ? '' : 'muted'}"
          >${value.reason}</span
        >
        ${
          operation
            ? html`<progress
                class="wide"
                max="1"
                .value=${operation.progress}
                aria-label=${operations[operation.kind]}
              ></progress>`
            : nothing
        }
      </a>
    </li>`;
  }

  #take(items: (File | string)[]): void {
    this.pending = [...this.pending, ...items.map((given) => ({ given }))];
  }

  readonly #dragged = (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    if (event.type === 'drop') {
      this.dragging = false;
      this.#take([...event.dataTransfer.files]);
    } else if (event.type === 'dragleave') {
      // Leaving the window has no target to go to; leaving one element for another has.
      if (event.relatedTarget === null) this.dragging = false;
    } else {
      this.dragging = true;
    }
  };

  readonly #pasted = (event: ClipboardEvent) => {
    // The open form has its own field to paste into.
    if (this.pending.length > 0) return;
    const { clipboardData } = event;
    if (clipboardData?.files.length) this.#take([...clipboardData.files]);
    else {
      const text = clipboardData?.getData('text/plain') ?? '';
      if (text) this.#take([text]);
    }
  };
}
