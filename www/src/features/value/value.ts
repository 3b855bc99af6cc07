import { html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { BackupView, ValueView, WalletView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import '../../shared/dialog.ts';
import { count, date, size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import '../../shared/progress.ts';
import { base } from '../../shared/styles.ts';
import { kinds, strengthSentence, valueBadge } from '../../shared/words.ts';
import '../recover/export.ts';
import './backup.ts';
import './certificates.ts';
import './content.ts';
import './edit.ts';
import './outlook.ts';
import { givenForm } from '../recover/given.ts';
import './piece.ts';
import './renewal.ts';
import './through.ts';
import { one } from './value.styles.ts';

/** Who else is released with a value. */
function others({ backup }: ValueView): string {
  const more = (backup?.values.length ?? 1) - 1;
  return more > 0 ? ` and of ${count(more, 'other value')} that were backed up with it` : '';
}

type Asking = 'backup' | 'edit' | 'take-over' | 'move' | 'renew' | 'release' | 'remove' | 'export';

/** One value: its content, where it stands, and its backup. */
@customElement('sr-value')
export class Value extends Page {
  static override styles = [base, one];

  @property() valueId = '';
  @property({ attribute: false }) view!: WalletView;
  @state() private asking: Asking | null = null;

  protected override render(): TemplateResult {
    const value = this.view.values.find(({ id }) => id === this.valueId);
    if (!value) {
      return html`<div class="stack">
        <h1 tabindex="-1">This value is not in the wallet</h1>
        <p>It may have been deleted, or it belongs to another wallet.</p>
        <div><a class="button" href="#/values">${icon('back')}All values</a></div>
      </div>`;
    }
    return html`<div class="stack">
      <a class="up" href="#/values">${icon('back')}All values</a>
      <div class="head">
        <span class="kind">${icon(value.kind)}</span>
        <div class="stack tight">
          <h1 tabindex="-1">${value.title}</h1>
          <p class="muted small">
            ${kinds[value.kind]} · ${size(value.size)} · added ${date(value.created)}${value.unique ? ' · only one of it' : ''}
            ${value.fileName ? html`<br />${value.fileName}` : nothing}
            ${value.tags.length > 0 ? html`<br />${value.tags.map((tag) => `#${tag}`).join(' ')}` : nothing}
          </p>
        </div>
      </div>
      <section class="card stack tight" aria-label="Where it stands">
        <div>${valueBadge(value.state)}</div>
        <p>${value.reason}</p>
        ${value.nextStep ? html`<p class="muted">${value.nextStep}</p>` : nothing}
        ${value.changed && value.operation === null ? this.#outdated(value) : nothing}
        ${value.local && value.leftAlone !== null && this.view.rules.some(({ on }) => on) ? this.#leftAlone(value) : nothing}
      </section>
      ${
        value.operation
          ? html`<section class="card stack">
              <sr-progress .operation=${value.operation} .valueId=${value.id}></sr-progress>
              ${givenForm(value)}
            </section>`
          : nothing
      }
      ${this.errorBox()}
      <section class="card stack" aria-labelledby="content">
        <div class="row apart">
          <h2 id="content">Content</h2>
          <button type="button" class="small" data-testid="edit" @click=${() => this.#ask('edit')}>Change</button>
        </div>
        ${value.local ? html`<sr-content .value=${value}></sr-content>` : this.#away(value)}
      </section>
      <section class="card stack" aria-labelledby="backup">
        <h2 id="backup">Backup</h2>
        ${value.backup ? this.#backedUp(value, value.backup) : this.#notBackedUp(value)}
      </section>
      ${this.#dialog(value)}
    </div>`;
  }

  /** The safes have it as it was before a change. */
  #outdated(value: ValueView): TemplateResult {
    return html`<div class="row">
      <button
        type="button"
        class="primary"
        data-testid="renew-change"
        ?disabled=${this.busy}
        @click=${() => (value.backup?.hasWords ? this.#ask('renew') : this.act(() => session.engine.renew(value.id)))}
      >
        Back up the change
      </button>
    </div>`;
  }

  #leftAlone(value: ValueView): TemplateResult {
    return html`<div class="row apart" data-testid="left-alone">
      <p class="muted small">Your rules leave it alone since you took it back.</p>
      <button
        type="button"
        class="small"
        data-testid="follow-rules"
        ?disabled=${this.busy}
        @click=${() => this.act(() => session.engine.followRules(value.id))}
      >
        Let them see to it again
      </button>
    </div>`;
  }

  #away(value: ValueView): TemplateResult {
    if (value.backup?.claim === 'taken') return this.#taken(value);
    return html`<p>It is not on this device. The safes hold it.</p>
      ${
        value.operation?.gathering
          ? this.#claiming(value)
          : html`<div class="row">
              <button
                type="button"
                class="primary"
                data-testid="recover-start"
                ?disabled=${this.busy || value.operation !== null}
                @click=${() => this.act(() => session.engine.recover([value.id]))}
              >
                Recover it
              </button>
              <button
                type="button"
                data-testid="bring-back"
                aria-describedby="bring-back-why"
                ?disabled=${this.busy || value.operation !== null}
                @click=${() => this.act(() => session.engine.bringBack(value.id))}
              >
                Bring it back
              </button>
            </div>
            <p class="muted small" id="bring-back-why">
              Recovered, it is here and at the safes. Brought back, it is here, and then the safes let go of it${others(value)}.
            </p>`
      }
      ${this.#through(value)}`;
  }

  /** Only an owner can have something fetched; what lives once is claimed at each safe. */
  #through(value: ValueView): TemplateResult | typeof nothing {
    if (this.view.owner === null || value.unique) return nothing;
    if (value.operation && value.operation.kind !== 'recover') return nothing;
    return html`<sr-through .value=${value}></sr-through>`;
  }

  /** Too few safes may be left to agree whose it is. */
  #claiming(value: ValueView): TemplateResult | typeof nothing {
    if (value.backup?.claim !== 'open') return nothing;
    return html`<p class="muted small">
        If too many safes are gone for good, or the device that has it is lost, you can take it over.
      </p>
      <div class="row">${this.#takeOver()}</div>`;
  }

  #takeOver(): TemplateResult {
    return html`<button
      type="button"
      class="danger"
      data-testid="take-over"
      ?disabled=${this.busy}
      @click=${() => this.#ask('take-over')}
    >
      Take it over
    </button>`;
  }

  #taken(value: ValueView): TemplateResult {
    return html`<p>There may be only one of it, and another device has it.</p>
      <div class="row">
        ${this.#takeOver()}
        <button
          type="button"
          class="quiet"
          data-testid="value-forget"
          ?disabled=${this.busy || value.operation !== null}
          @click=${() =>
            this.act(async () => {
              await session.engine.removeValue(value.id);
              location.hash = '#/values';
            })}
        >
          Take it from this list
        </button>
      </div>`;
  }

  #notBackedUp(value: ValueView): TemplateResult {
    const { safes } = this.view;
    if (this.asking === 'backup') {
      return html`<sr-backup
        .value=${value}
        .values=${this.view.values}
        .safes=${safes}
        @dismiss=${() => this.#ask(null)}
      ></sr-backup>`;
    }
    return html`<p class="muted">
        It is on this device only. If the device or the passphrase is lost, so is this value.
      </p>
      <div class="row">
        ${
          safes.length < 1
            ? html`<a class="button primary" href="#/safes">Add safes first</a>`
            : html`<button
                type="button"
                class="primary"
                data-testid="backup-start"
                ?disabled=${value.operation !== null || !value.local}
                @click=${() => this.#ask('backup')}
              >
                Back it up
              </button>`
        }
        <button
          type="button"
          class="quiet"
          data-testid="value-remove"
          ?disabled=${value.operation !== null}
          @click=${() => this.#ask('remove')}
        >
          Delete it
        </button>
      </div>`;
  }

  #backedUp(value: ValueView, backup: BackupView): TemplateResult {
    const held = backup.certificates.some(({ state }) => state === 'held');
    // A backup that is still being made brings nothing back yet.
    const begun = backup.certificates.every(({ state }) => state === 'held') ? '' : 'When it is done: ';
    const meaning = strengthSentence(backup);
    const coupled = this.view.values.filter(({ id }) => id !== value.id && backup.values.includes(id));
    return html`<p>${begun ? begun + meaning.charAt(0).toLowerCase() + meaning.slice(1) : meaning}</p>
      ${backup.fileUnsaved ? html`<sr-piece .value=${value}></sr-piece>` : nothing}
      ${
        coupled.length > 0
          ? html`<p class="muted small">
              Backed up together with
              ${coupled.map(({ id, title }, at) => html`${at > 0 ? ', ' : ''}<a href="#/value/${encodeURIComponent(id)}">${title}</a>`)}.
            </p>`
          : nothing
      }
      <sr-certificates .certificates=${backup.certificates} .name=${value.title}></sr-certificates>
      <div class="row">
        <button
          type="button"
          class="small"
          data-testid="audit"
          ?disabled=${!held || this.busy || backup.certificates.some(({ auditing }) => auditing)}
          @click=${() => this.act(() => session.engine.audit(value.id))}
        >
          ${icon('check')}Check that they still have it
        </button>
        <button
          type="button"
          class="small"
          data-testid="drill"
          ?disabled=${!held || this.busy || value.operation !== null || (value.unique && backup.claim !== 'ours')}
          title=${value.unique && backup.claim !== 'ours' ? 'There may be only one of it: to try it would be to take it.' : ''}
          @click=${() => this.act(() => session.engine.drill(value.id))}
        >
          ${icon('clock')}Try whether it comes back
        </button>
        <button
          type="button"
          class="small"
          data-testid="move-start"
          ?disabled=${!held || value.operation !== null || !value.local}
          @click=${() => this.#ask('move')}
        >
          ${icon('moved')}Take it off this device
        </button>
        <button
          type="button"
          class="small"
          data-testid="renew-start"
          ?disabled=${!held || value.operation !== null}
          @click=${() => this.#ask('renew')}
        >
          ${icon('key')}Renew keys and pieces
        </button>
        <button
          type="button"
          class="small"
          data-testid="export-value-certificates"
          ?disabled=${!held}
          @click=${() => this.#ask('export')}
        >
          ${icon('certificate')}Save the certificates of this value
        </button>
        <button
          type="button"
          class="small danger"
          data-testid="release-start"
          ?disabled=${value.operation !== null || !value.local}
          aria-describedby="release-why"
          @click=${() => this.#ask('release')}
        >
          Release from the safes
        </button>
      </div>
      ${value.local ? nothing : html`<p class="muted small" id="release-why">To release it, recover it first.</p>`}
      ${
        backup.drilled === null
          ? nothing
          : html`<p class="muted small" data-testid="drilled">Rebuilt from what the safes have, as a trial, on ${date(backup.drilled)}.</p>`
      }
      <details class="more">
        <summary data-testid="plan-open">The plan</summary>
        <p class="mono" data-testid="plan-shown">${backup.plan}</p>
        <sr-outlook .plan=${backup.plan} .values=${backup.values} .safes=${this.view.safes}></sr-outlook>
      </details>`;
  }

  #dialog(value: ValueView): TemplateResult | typeof nothing {
    switch (this.asking) {
      case 'edit':
        return html`<sr-edit .value=${value} @dismiss=${() => this.#ask(null)}></sr-edit>`;
      case 'export':
        return html`<sr-export
          .ids=${[value.id]}
          .heading=${`Save the certificates of “${value.title}”`}
          @dismiss=${() => this.#ask(null)}
        ></sr-export>`;
      case 'take-over':
        return html`<sr-dialog heading="Take it over?" @dismiss=${() => this.#ask(null)}>
          <div class="stack">
            <p>
              There may be only one “${value.title}”. If the device that claimed it is lost, or too many safes are, you can have it
              here all the same. <strong>If that device still has it, or gets it later, it lives twice</strong>, and only the first
              who shows it may be let in.
            </p>
            <div class="row">
              <button
                type="button"
                class="danger"
                data-testid="take-over-confirm"
                @click=${() => this.#confirm(() => session.engine.takeOver(value.id))}
              >
                That device is lost: take it over
              </button>
              <button type="button" class="quiet" data-first @click=${() => this.#ask(null)}>Leave it</button>
            </div>
          </div>
        </sr-dialog>`;
      case 'move':
        return html`<sr-dialog heading="Take it off this device?" @dismiss=${() => this.#ask(null)}>
          <div class="stack">
            <p>
              ${
                value.unique
                  ? html`“${value.title}”${others(value)} goes to the safes anew, under new keys, for whichever of your devices claims it next.
                      When every safe has signed, the copy on this device goes, and certificates saved earlier no longer bring it back.`
                  : html`“${value.title}”${others(value)} is rebuilt from what the safes have. If it is the same, the copy on this device
                      goes, and the safes are where it lives. You can recover it at any time.`
              }
            </p>
            <div class="row">
              <button
                type="button"
                class="primary"
                data-testid="move-confirm"
                @click=${() => this.#confirm(() => session.engine.moveOut(value.id))}
              >
                Move it
              </button>
              <button type="button" class="quiet" data-first @click=${() => this.#ask(null)}>Keep it here</button>
            </div>
          </div>
        </sr-dialog>`;
      case 'renew':
        return html`<sr-renewal
          .value=${value}
          .backup=${value.backup}
          .safes=${this.view.safes}
          @dismiss=${() => this.#ask(null)}
        ></sr-renewal>`;
      case 'release':
        return html`<sr-dialog heading="Release from the safes?" @dismiss=${() => this.#ask(null)}>
          <div class="stack">
            <p>
              The safes let go of every piece of “${value.title}”${others(value)} and sign for that. The copy on this device
              stays. From then
              on it is the only one: certificates saved earlier no longer bring it back.
            </p>
            <div class="row">
              <button
                type="button"
                class="danger"
                data-testid="release-confirm"
                @click=${() => this.#confirm(() => session.engine.release(value.id))}
              >
                Release it
              </button>
              <button type="button" class="quiet" data-first @click=${() => this.#ask(null)}>Keep the backup</button>
            </div>
          </div>
        </sr-dialog>`;
      case 'remove':
        return html`<sr-dialog heading="Delete this value?" @dismiss=${() => this.#ask(null)}>
          <div class="stack">
            <p>
              “${value.title}” is on this device only.
              ${
                this.view.owner?.enrolled
                  ? 'Once it is deleted, nothing brings it back but what your safes have let go in the last seven days: see under Recover.'
                  : 'Once deleted, nobody can bring it back.'
              }
            </p>
            <div class="row">
              <button
                type="button"
                class="danger"
                data-testid="value-remove-confirm"
                @click=${() =>
                  this.#confirm(async () => {
                    await session.engine.removeValue(value.id);
                    location.hash = '#/values';
                  })}
              >
                Delete it for good
              </button>
              <button type="button" class="quiet" data-first @click=${() => this.#ask(null)}>Keep it</button>
            </div>
          </div>
        </sr-dialog>`;
      default:
        return nothing;
    }
  }

  #confirm(work: () => Promise<void>): void {
    this.asking = null;
    void this.act(work);
  }

  #ask(what: Asking | null): void {
    this.asking = what;
  }
}
