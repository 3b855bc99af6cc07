import { html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { ValueView } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import { download, fileName } from '../../shared/download.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { LONGEST, qr, textOfPiece, toText } from '../../shared/qr.ts';

/** The file that the owner keeps: saved, and then shown again, so that nobody relies on a file that is not there. */
@customElement('sr-piece')
export class Piece extends Page {
  @property({ attribute: false }) value!: ValueView;
  @state() private saved = false;
  /** The file as text, where it is short. */
  @state() private text: string | null = null;

  protected override render(): TemplateResult {
    return html`<div class="stack" role="group" aria-label="The file with your piece">
      <div class="notice warn">
        ${icon('alert')}
        <p class="small">
          A piece of this backup is in a file that only you keep. Save it where you will find it again, and not only on this device.
        </p>
      </div>
      <div class="row">
        <button type="button" class="primary" data-testid="piece-save" ?disabled=${this.busy} @click=${this.#save}>
          Save the file
        </button>
        <button type="button" data-testid="piece-print" ?disabled=${this.busy} @click=${this.#draw}>Show it as a QR code</button>
      </div>
      ${
        this.text
          ? html`${qr(this.text, 'Your piece as a QR code')}
              <p class="mono small" data-testid="piece-text">${this.text}</p>`
          : nothing
      }
      <div class="stack tight" ?hidden=${!this.saved}>
        <label for="shown">Now choose the saved file, to show that you have it</label>
        <input id="shown" type="file" accept=".piece" data-testid="piece-show" ?disabled=${this.busy} @change=${this.#show} />
      </div>
      <form class="stack tight" ?hidden=${this.text === null} @submit=${this.#type}>
        <label for="typed">Scan the code with another device and enter its text, to show that you have it</label>
        <input id="typed" name="typed" autocomplete="off" data-testid="piece-typed" />
        <div><button data-testid="piece-typed-submit" ?disabled=${this.busy}>I have it</button></div>
      </form>
      ${this.errorBox()}
    </div>`;
  }

  #save(): void {
    void this.act(async () => {
      download(fileName(this.value.title, 'piece'), await session.engine.pieceFile(this.value.id));
      this.saved = true;
    });
  }

  #draw(): void {
    void this.act(async () => {
      const file = await session.engine.pieceFile(this.value.id);
      if (file.length > LONGEST) {
        throw new EngineError({
          code: 'too-large',
          message: 'It is too long for a QR code.',
          next: 'Save the file.',
        });
      }
      this.text = toText(file);
    });
  }

  #type(event: SubmitEvent): void {
    event.preventDefault();
    const typed = field(event, 'typed');
    void this.act(async () => session.engine.pieceFileSaved(this.value.id, textOfPiece(typed)));
  }

  #show(event: Event): void {
    const file = (event.target as HTMLInputElement).files?.[0];
    if (!file) return;
    void this.act(async () =>
      session.engine.pieceFileSaved(this.value.id, new Uint8Array(await file.arrayBuffer())),
    );
  }
}
