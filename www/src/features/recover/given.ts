import { html, nothing, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { BackupView, Given, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { field, Page } from '../../shared/page.ts';
import { textOfPiece } from '../../shared/qr.ts';

/** What a recovery waits for that its owner keeps: words, or a file. */
@customElement('sr-given')
export class GivenForm extends Page {
  @property({ attribute: false }) backup!: BackupView;
  /** The values that are being recovered. */
  @property({ attribute: false }) ids: string[] = [];

  protected override render(): TemplateResult {
    const { hasWords, hasFile } = this.backup;
    return html`<form class="stack" @submit=${this.#submit}>
      ${
        hasWords
          ? html`<div class="stack tight">
              <label for="words">The words that you chose for it</label>
              <input id="words" name="words" autocomplete="off" data-testid="given-words" />
            </div>`
          : nothing
      }
      ${
        hasFile
          ? html`<div class="stack tight">
              <label for="piece">The file that you saved for it</label>
              <input id="piece" type="file" accept=".piece" data-testid="given-file" />
              <label for="text">Or the text of its QR code</label>
              <input id="text" name="text" autocomplete="off" data-testid="given-text" />
            </div>`
          : nothing
      }
      ${this.errorBox()}
      <div><button data-testid="given-submit" ?disabled=${this.busy}>Go on</button></div>
    </form>`;
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    const file = this.renderRoot.querySelector<HTMLInputElement>('#piece')?.files?.[0];
    const words = field(event, 'words');
    const text = field(event, 'text');
    void this.act(async () => {
      const given: Given = {};
      if (words) given.words = words;
      if (text) given.file = textOfPiece(text);
      if (file) given.file = new Uint8Array(await file.arrayBuffer());
      await session.engine.recover(this.ids, given);
    });
  }
}

/** What only the owner can give, where a recovery waits. */
export function givenForm({ id, operation, backup }: ValueView): TemplateResult | typeof nothing {
  if (!operation?.gathering || operation.waiting === null || !backup) return nothing;
  return backup.hasWords || backup.hasFile
    ? html`<sr-given .backup=${backup} .ids=${[id]}></sr-given>`
    : nothing;
}
