import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { ValueKind } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import type { Dialog } from '../../shared/dialog.ts';
import '../../shared/dialog.ts';
import { count, listed, size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { kinds } from '../../shared/words.ts';

const LARGEST = 16 * 1024 * 1024;

/** The form for one new value. Sends `dismiss` when it is done with, saved or not. */
@customElement('sr-add')
export class Add extends Page {
  static override styles = [
    base,
    css`
      textarea {
        font-family: var(--mono);
        font-size: 0.9375rem;
      }
      .file {
        display: flex;
        align-items: center;
        gap: 0.75rem;
        padding: 0.625rem 0.75rem;
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
        background: var(--sunken);
      }
      .file span {
        flex: 1;
        overflow-wrap: anywhere;
      }
    `,
  ];

  /** A file, or a text (empty: to be typed). */
  @property({ attribute: false }) given: File | string = '';
  @state() private file: File | null = null;
  /** Several files at once: a value each, named like its file. */
  @state() private several: File[] = [];
  @state() private kind: ValueKind = 'note';
  /** The owner chose the kind himself; no guess may change it any more. */
  #chosen = false;
  /** Of tickets and vouchers there is one, unless the owner says otherwise. */
  @state() private once: boolean | null = null;

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    if (!changed.has('given')) return;
    if (typeof this.given === 'string') this.#guess(this.given);
    else this.#take(this.given);
  }

  protected override render(): TemplateResult {
    const { file, given } = this;
    return html`<sr-dialog heading="Add a value">
      <form class="stack" @submit=${this.#save}>
        <div class="stack tight" ?hidden=${this.several.length > 0}>
          <label for="title">Title</label>
          <input
            id="title"
            name="title"
            autocomplete="off"
            maxlength="120"
            ?required=${this.several.length === 0}
            data-first
            .value=${file && typeof given !== 'string' ? bareName(file.name) : ''}
            data-testid="value-title"
          />
        </div>
        <div class="stack tight">
          <label for="kind">Kind</label>
          <select id="kind" name="kind" .value=${this.kind} data-testid="value-kind" @change=${this.#onKind}>
            ${Object.entries(kinds).map(
              ([kind, label]) =>
                html`<option value=${kind} ?selected=${kind === this.kind}>${label}</option>`,
            )}
          </select>
        </div>
        ${this.#content()}
        <div class="stack tight">
          <label for="tags">Tags, if you like, with commas between them</label>
          <input id="tags" name="tags" autocomplete="off" data-testid="value-tags" />
        </div>
        <div class="stack tight">
          <label class="row">
            <input
              type="checkbox"
              data-testid="value-unique"
              aria-describedby="unique-why"
              .checked=${this.#unique}
              @change=${(event: Event) => {
                this.once = (event.target as HTMLInputElement).checked;
              }}
            />
            There may be only one of it
          </label>
          <p class="muted small" id="unique-why">
            For tickets, vouchers and the like: of several devices that want it back from the safes, one gets it.
          </p>
        </div>
        ${this.#waiting() ?? this.errorBox()}
        <p class="muted small">
          It is sealed on this device. Nothing is sent anywhere until
          ${session.view?.rules.some(({ on }) => on) ? 'you or one of your rules backs' : 'you back'} it up.
        </p>
        <div class="row">
          <button class="primary" data-testid="value-save" ?disabled=${this.busy}>
            ${this.busy ? 'Saving…' : 'Save on this device'}
          </button>
          <button type="button" class="quiet" @click=${this.#close}>Cancel</button>
        </div>
      </form>
    </sr-dialog>`;
  }

  /** It does not fit yet. Once rules have made room it is saved, without another word. */
  #waiting(): TemplateResult | null {
    if (this.error?.code !== 'does-not-fit' || !session.view) return null;
    const leaving = session.view.room.leaving.length;
    return html`<div class="notice warn" role="status" data-testid="making-room" data-leaving=${leaving}>
      ${icon('clock')}
      <div class="stack tight">
        <p>${this.error.message}</p>
        <p class="small">
          ${
            leaving > 0
              ? `Room is being made: ${count(leaving, 'value goes', 'values go')} to the safes. Then it is saved by itself; leave this open.`
              : html`No rule says what may go to the safes to make room: <a href="#/rules">see your rules</a>.`
          }
        </p>
      </div>
    </div>`;
  }

  readonly #changed = () => {
    if (this.error?.code !== 'does-not-fit' || this.busy) return;
    if (session.view?.room.lacking === 0) this.renderRoot.querySelector('form')?.requestSubmit();
    else this.requestUpdate();
  };

  override connectedCallback(): void {
    super.connectedCallback();
    session.addEventListener('change', this.#changed);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    session.removeEventListener('change', this.#changed);
    // Nobody waits any more.
    if (this.error?.code === 'does-not-fit') session.engine.giveUpRoom().catch(() => undefined);
  }

  #content(): TemplateResult {
    if (this.several.length > 0) {
      const bytes = this.several.reduce((sum, file) => sum + file.size, 0);
      return html`<div class="file">
        ${icon('file')}
        <span>${count(this.several.length, 'file')}, a value each <span class="muted small">${size(bytes)}</span></span>
        <button
          type="button"
          class="small"
          @click=${() => {
            this.several = [];
          }}
        >
          Remove
        </button>
      </div>`;
    }
    return this.file ? this.#chosenFile(this.file) : this.#typed();
  }

  #typed(): TemplateResult {
    // Without spellchecking: some browsers send the text of a checked field to a service.
    return html`<div class="stack tight">
        <label for="text">What to keep</label>
        <textarea
          id="text"
          name="text"
          autocomplete="off"
          autocapitalize="none"
          spellcheck="false"
          .value=${typeof this.given === 'string' ? this.given : ''}
          @input=${(event: InputEvent) => this.#guess((event.target as HTMLTextAreaElement).value)}
          data-testid="value-text"
        ></textarea>
      </div>
      <div class="stack tight">
        <label for="file">Or files, up to 16 MiB each</label>
        <input id="file" type="file" multiple data-testid="value-file" @change=${this.#onFile} />
      </div>`;
  }

  #chosenFile(file: File): TemplateResult {
    return html`<div class="file">
      ${icon('file')}
      <span>${file.name} <span class="muted small">${size(file.size)}</span></span>
      ${
        typeof this.given === 'string'
          ? html`<button
              type="button"
              class="small"
              @click=${() => {
                this.file = null;
              }}
            >
              Remove
            </button>`
          : nothing
      }
    </div>`;
  }

  get #unique(): boolean {
    return this.once ?? (this.kind === 'ticket' || this.kind === 'voucher');
  }

  #onKind(event: Event): void {
    this.#chosen = true;
    this.kind = (event.target as HTMLSelectElement).value as ValueKind;
  }

  #onFile(event: Event): void {
    const [file, ...more] = (event.target as HTMLInputElement).files ?? [];
    if (!file) return;
    this.#take(file);
    if (more.length > 0) {
      this.several = [file, ...more];
      this.file = null;
      const large = this.several.find(({ size }) => size > LARGEST);
      this.error = large ? tooLarge(large) : null;
      return;
    }
    const title = this.renderRoot.querySelector<HTMLInputElement>('#title');
    if (title && !title.value) title.value = bareName(file.name);
  }

  #take(file: File): void {
    this.file = file;
    if (!this.#chosen)
      this.kind = /^application\/pdf$|document|^text\//.test(file.type) ? 'document' : 'file';
    this.error = file.size > LARGEST ? tooLarge(file) : null;
  }

  #guess(text: string): void {
    if (this.#chosen) return;
    const words = text.trim().split(/\s+/);
    const plain = words.every((word) => /^[a-z]{3,8}$/.test(word));
    this.kind = plain && [12, 15, 18, 21, 24].includes(words.length) ? 'seed-phrase' : 'note';
  }

  async #save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const { file } = this;
    const title = field(event, 'title').trim();
    const tags = listed(field(event, 'tags'));
    const text = this.renderRoot.querySelector('textarea')?.value ?? '';
    const saved = await this.act(async () => {
      // Those that are saved already stay, if one cannot be.
      for (const [at, one] of this.several.entries()) {
        await this.#keep(bareName(one.name), one, tags).catch((error: unknown) => {
          this.several = this.several.slice(at);
          throw error;
        });
      }
      if (this.several.length > 0) return;
      if (file) return this.#keep(title, file, tags);
      if (!text) {
        throw new EngineError({
          code: 'empty-value',
          message: 'There is nothing to keep yet.',
          next: 'Type or paste something, or choose a file.',
        });
      }
      const mime = 'text/plain;charset=utf-8';
      const content = new TextEncoder().encode(text);
      const unique = this.#unique;
      await session.engine.addValue({ title, kind: this.kind, fileName: null, mime, unique, tags }, content);
      content.fill(0);
    });
    if (saved) this.#close();
  }

  async #keep(title: string, file: File, tags: string[]): Promise<void> {
    if (file.size > LARGEST) throw tooLarge(file);
    const content = new Uint8Array(await file.arrayBuffer());
    const mime = file.type || 'application/octet-stream';
    const { kind } = this;
    const unique = this.#unique;
    await session.engine.addValue({ title, kind, fileName: file.name, mime, unique, tags }, content);
    content.fill(0);
  }

  readonly #close = () => {
    this.renderRoot.querySelector<Dialog>('sr-dialog')?.close();
  };
}

const bareName = (name: string) => name.replace(/\.[^.]{1,8}$/, '') || name;

function tooLarge(file: File): EngineError {
  return new EngineError({
    code: 'too-large',
    message: `${file.name} is too large: a value can have up to 16 MiB.`,
    next: 'Split or compress the file, then add the parts.',
  });
}
