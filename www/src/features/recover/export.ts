import { html, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { session } from '../../engine/session.ts';
import type { Dialog } from '../../shared/dialog.ts';
import '../../shared/dialog.ts';
import { download } from '../../shared/download.ts';
import { count, isoDay } from '../../shared/format.ts';
import { field, Page } from '../../shared/page.ts';
import { passphraseProblem } from '../../shared/passphrase.ts';
import '../../shared/strength.ts';

/** Writes certificates into a file under a passphrase of its own. Sends `dismiss`. */
@customElement('sr-export')
export class Export extends Page {
  @property({ attribute: false }) ids: string[] = [];
  @property() heading = 'Save certificate file';

  protected override render(): TemplateResult {
    return html`<sr-dialog .heading=${this.heading}>
      <form class="stack" @submit=${this.#submit}>
        <p class="muted">
          The file holds the certificates of ${count(this.ids.length, 'value')}, not the values themselves. Keep it apart from
          this device. Whoever has the file and its passphrase can bring the values back.
        </p>
        <div class="stack tight">
          <label for="first">Passphrase for the file</label>
          <sr-strength for="file">
            <input
              id="first"
              name="first"
              type="password"
              autocomplete="new-password"
              aria-describedby="hint"
              data-first
              data-testid="export-passphrase"
            />
            <p id="hint" slot="advice" class="muted small">
              At least 12 characters, and not the one of the wallet. Nobody can reset it.
            </p>
          </sr-strength>
        </div>
        <div class="stack tight">
          <label for="again">The same again</label>
          <input
            id="again"
            name="again"
            type="password"
            autocomplete="new-password"
            data-testid="export-passphrase-again"
          />
        </div>
        ${this.errorBox()}
        <div class="row">
          <button class="primary" data-testid="export-submit" ?disabled=${this.busy}>
            ${this.busy ? 'Sealing the file…' : 'Save the file'}
          </button>
          <button type="button" class="quiet" @click=${this.#close}>Cancel</button>
        </div>
      </form>
    </sr-dialog>`;
  }

  async #submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const passphrase = field(event, 'first');
    const problem = passphraseProblem(passphrase, field(event, 'again'));
    if (problem) {
      this.error = problem;
      return;
    }
    const saved = await this.act(async () => {
      const file = await session.engine.exportCertificates(this.ids, passphrase);
      session.saved((session.view?.values ?? []).filter(({ id }) => this.ids.includes(id)));
      download(`strongroom-certificates-${isoDay(Date.now())}.strongroom`, file);
    });
    if (saved) this.#close();
  }

  readonly #close = () => {
    this.renderRoot.querySelector<Dialog>('sr-dialog')?.close();
  };
}
