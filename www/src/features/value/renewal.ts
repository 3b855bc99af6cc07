import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { BackupView, SafeView, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import '../../shared/dialog.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { faultBadge } from '../../shared/words.ts';

/** A new generation of a backup, perhaps with other safes. Sends `dismiss` when it has begun or was called off. */
@customElement('sr-renewal')
export class Renewal extends Page {
  static override styles = [
    base,
    css`
      li {
        display: grid;
        grid-template-columns: minmax(0, 1fr) minmax(9rem, auto);
        align-items: center;
        gap: 0.25rem 0.75rem;
        padding: 0.375rem 0;
      }
    `,
  ];

  @property({ attribute: false }) value!: ValueView;
  @property({ attribute: false }) backup!: BackupView;
  @property({ attribute: false }) safes: SafeView[] = [];
  /** By safe: who takes its place. */
  @state() private replaced: ReadonlyMap<string, string> = new Map();

  protected override render(): TemplateResult {
    return html`<sr-dialog heading="Renew keys and pieces?" @dismiss=${() => this.#dismiss()}>
      <form class="stack" @submit=${this.#submit}>
        <p>
          “${this.value.title}” is encrypted anew under keys that nobody has seen, and every safe gets a new piece. When they were rebuilt
          as a trial, the safes let the old ones go. Certificates that you saved before no longer bring it back: save them again then.
        </p>
        ${this.#who()}
        ${
          this.backup.hasWords
            ? html`<div class="stack tight">
                <label for="words">Words that only you know, the same or new ones</label>
                <input id="words" name="words" autocomplete="off" minlength="12" required data-testid="renew-words" />
              </div>`
            : nothing
        }
        ${this.errorBox()}
        <div class="row">
          <button class="primary" data-testid="renew-confirm" ?disabled=${this.busy}>Renew it</button>
          <button type="button" class="quiet" data-first @click=${() => this.#dismiss()}>Leave it</button>
        </div>
      </form>
    </sr-dialog>`;
  }

  #who(): TemplateResult | typeof nothing {
    const used = new Map(
      this.backup.certificates.map(({ safeId, nickname, fault }) => [safeId, { nickname, fault }]),
    );
    const taken = new Set([...used.keys(), ...this.replaced.values()]);
    const free = this.safes.filter(({ id }) => !used.has(id));
    if (free.length === 0) return nothing;
    return html`<fieldset>
      <legend>With which safes?</legend>
      <ul>
        ${[...used].map(([id, { nickname, fault }]) => {
          const choice = this.replaced.get(id) ?? id;
          return html`<li>
            <label for=${`for-${id}`}>${nickname} ${fault === null ? nothing : faultBadge}</label>
            <select
              id=${`for-${id}`}
              data-testid="renew-safe"
              data-safe=${nickname}
              @change=${(event: Event) => this.#replace(id, (event.target as HTMLSelectElement).value)}
            >
              <option value=${id} ?selected=${choice === id}>stays</option>
              ${free
                .filter((safe) => safe.id === choice || !taken.has(safe.id))
                .map(
                  (safe) =>
                    html`<option value=${safe.id} ?selected=${choice === safe.id}>${safe.nickname} instead</option>`,
                )}
            </select>
          </li>`;
        })}
      </ul>
    </fieldset>`;
  }

  #replace(from: string, to: string): void {
    const replaced = new Map(this.replaced);
    if (from === to) replaced.delete(from);
    else replaced.set(from, to);
    this.replaced = replaced;
  }

  #dismiss(): void {
    this.dispatchEvent(new Event('dismiss'));
  }

  async #submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const words = field(event, 'words');
    const replace = [...this.replaced].map(([from, to]) => ({ from, to }));
    if (await this.act(() => session.engine.renew(this.value.id, { ...(words && { words }), replace })))
      this.#dismiss();
  }
}
