import { html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { ValueKind, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import type { Dialog } from '../../shared/dialog.ts';
import '../../shared/dialog.ts';
import { listed, size } from '../../shared/format.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { kinds } from '../../shared/words.ts';
import { isText } from './content.ts';

/** Changes a value: what it is called, and what it holds. Sends `dismiss` when it is done with, saved or not. */
@customElement('sr-edit')
export class Edit extends Page {
  static override styles = [base];

  @property({ attribute: false }) value!: ValueView;
  /** What a typed value holds, as it was when this was opened; null until it is here. */
  @state() private text: string | null = null;
  @state() private file: File | null = null;

  protected override firstUpdated(): void {
    if (!this.#typed) return;
    void this.act(async () => {
      const bytes = await session.engine.reveal(this.value.id);
      this.text = new TextDecoder().decode(bytes);
      bytes.fill(0);
    });
  }

  /** A file is replaced as a whole, by another file. */
  get #typed(): boolean {
    return this.value.local && this.value.fileName === null && isText(this.value);
  }

  protected override render(): TemplateResult {
    const { value } = this;
    return html`<sr-dialog heading="Change “${value.title}”">
      <form class="stack" @submit=${this.#save}>
        <div class="stack tight">
          <label for="title">Title</label>
          <input id="title" name="title" autocomplete="off" maxlength="120" required data-first .value=${value.title} data-testid="edit-title" />
        </div>
        <div class="stack tight">
          <label for="kind">Kind</label>
          <select id="kind" name="kind" data-testid="edit-kind">
            ${Object.entries(kinds).map(
              ([kind, label]) =>
                html`<option value=${kind} ?selected=${kind === value.kind}>${label}</option>`,
            )}
          </select>
        </div>
        <div class="stack tight">
          <label for="tags">Tags, with commas between them</label>
          <input id="tags" name="tags" autocomplete="off" .value=${value.tags.join(', ')} data-testid="edit-tags" />
        </div>
        ${value.local ? this.#content() : html`<p class="muted small">To change what it holds, recover it first.</p>`}
        ${
          value.backup && value.local
            ? html`<p class="muted small">The safes keep it as it is now until you back up the change.</p>`
            : nothing
        }
        ${this.errorBox()}
        <div class="row">
          <button class="primary" data-testid="edit-save" ?disabled=${this.busy || (this.#typed && this.text === null)}>Save on this device</button>
          <button type="button" class="quiet" @click=${this.#close}>Cancel</button>
        </div>
      </form>
    </sr-dialog>`;
  }

  #content(): TemplateResult {
    if (!this.#typed) {
      return html`<div class="stack tight">
        <label for="file">Another file in place of ${this.value.fileName ?? 'this one'} (${size(this.value.size)})</label>
        <input
          id="file"
          type="file"
          data-testid="edit-file"
          @change=${(event: Event) => {
            this.file = (event.target as HTMLInputElement).files?.[0] ?? null;
          }}
        />
      </div>`;
    }
    // Without spellchecking: some browsers send the text of a checked field to a service.
    return html`<div class="stack tight">
      <label for="text">What to keep</label>
      <textarea
        id="text"
        autocomplete="off"
        autocapitalize="none"
        spellcheck="false"
        .value=${this.text ?? ''}
        ?disabled=${this.text === null}
        data-testid="edit-text"
      ></textarea>
    </div>`;
  }

  async #save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const { id, fileName, mime } = this.value;
    const tags = listed(field(event, 'tags'));
    const [title, kind] = [field(event, 'title').trim(), field(event, 'kind') as ValueKind];
    const text = this.renderRoot.querySelector('textarea')?.value ?? this.text;
    const saved = await this.act(async () => {
      if (this.file) {
        const content = new Uint8Array(await this.file.arrayBuffer());
        const meta = {
          title,
          kind,
          fileName: this.file.name,
          mime: this.file.type || 'application/octet-stream',
          tags,
        };
        await session.engine.changeValue(id, meta, content);
        content.fill(0);
      } else if (this.#typed && text !== this.text) {
        const content = new TextEncoder().encode(text ?? '');
        await session.engine.changeValue(id, { title, kind, fileName, mime, tags }, content);
        content.fill(0);
      } else {
        await session.engine.changeValue(id, { title, kind, fileName, mime, tags });
      }
    });
    if (saved) this.#close();
  }

  readonly #close = () => {
    this.renderRoot.querySelector<Dialog>('sr-dialog')?.close();
  };
}
