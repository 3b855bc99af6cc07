import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { ChangeView, OwnerSeat, OwnerView, SafeView } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import { count } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import '../../shared/strength.ts';
import { base } from '../../shared/styles.ts';

/** More than half, and two at least. */
export const least = (safes: number): number => Math.max(2, Math.floor(safes / 2) + 1);

/** Another passphrase, or other safes, for an owner who is enrolled; and what of before stays exposed until it is renewed. */
@customElement('sr-change')
export class Change extends Page {
  static override styles = [
    base,
    css`
      .choice {
        display: flex;
        gap: 0.5rem;
        align-items: center;
      }
      .seats {
        display: grid;
        gap: 0.375rem;
      }
      .needed {
        width: 5rem;
      }
    `,
  ];

  @property({ attribute: false }) owner!: OwnerView;
  @property({ attribute: false }) safes: SafeView[] = [];
  @state() private open: 'passphrase' | 'safes' | null = null;
  /** The device that has begun a change is gone. */
  @state() private instead = false;
  /** What the owner has chosen otherwise than it is now. */
  @state() private chosen: ReadonlyMap<string, boolean> = new Map();

  /** A part of a page: it does not take the focus as a page does. */
  protected override firstUpdated(): void {}

  protected override render(): TemplateResult {
    const { owner } = this;
    const busy = owner.change !== null && !owner.change.inForce;
    return html`<div class="stack" data-testid="change" data-exposed=${owner.exposed} data-unkept=${owner.unkept} data-changing=${owner.change !== null} data-leaving=${owner.leaving.length}>
      ${owner.change ? this.#progress(owner.change) : nothing} ${this.#leaving()} ${this.#exposed()}
      ${owner.changeElsewhere ? this.#elsewhere() : nothing}
      ${busy || owner.superseded || (owner.changeElsewhere && !this.instead) ? nothing : this.#choice()} ${this.errorBox()}
    </div>`;
  }

  #elsewhere(): TemplateResult {
    return html`<div class="notice warn" role="status" data-testid="change-elsewhere">
      ${icon('alert')}
      <div class="stack tight">
        <p>
          Another of your devices has begun to change your passphrase or your safes, and that is not over. Open Strongroom there, and it
          goes on by itself. Until then no copy here is deleted, and nothing at the safes is let go.
        </p>
        ${
          this.instead
            ? html`<p class="small">
                What you change here takes its place. A safe that has taken in the other one already refuses this one; choose another in
                its place.
              </p>`
            : html`<div>
                <button data-testid="change-instead" @click=${() => (this.instead = true)}>That device is gone</button>
              </div>`
        }
      </div>
    </div>`;
  }

  #choice(): TemplateResult {
    return html`<div class="stack">
      <div class="choice">
        <button data-testid="change-passphrase" aria-expanded=${this.open === 'passphrase'} @click=${() => this.#show('passphrase')}>
          Change passphrase
        </button>
        <button data-testid="change-safes" aria-expanded=${this.open === 'safes'} @click=${() => this.#show('safes')}>
          Change safes
        </button>
      </div>
      ${this.open ? this.#form(this.open === 'passphrase') : nothing}
    </div>`;
  }

  #show(which: 'passphrase' | 'safes'): void {
    this.open = this.open === which ? null : which;
    this.chosen = new Map();
  }

  #takes(id: string): boolean {
    return this.chosen.get(id) ?? this.owner.seats.some(({ safeId }) => safeId === id);
  }

  #form(passphrase: boolean): TemplateResult {
    const taking = this.safes.filter(({ id }) => this.#takes(id)).length;
    return html`<form class="stack" @submit=${this.#begin}>
      <div class="stack tight">
        <label for="current">Recovery passphrase as it is now</label>
        <input id="current" name="current" type="password" autocomplete="off" required data-testid="change-current" />
      </div>
      ${
        passphrase
          ? html`<div class="stack tight">
                <label for="new">New recovery passphrase</label>
                <sr-strength for="new" .known=${[this.owner.name]}>
                  <input id="new" name="new" type="password" autocomplete="new-password" minlength="12" required data-testid="change-new" />
                  <p slot="advice" class="muted small">Five or more unrelated words.</p>
                </sr-strength>
              </div>
              <div class="stack tight">
                <label for="again">The same again</label>
                <input id="again" name="again" type="password" autocomplete="new-password" required data-testid="change-again" />
              </div>`
          : html`<fieldset class="stack tight">
                <legend>Safes</legend>
                ${this.safes.map(
                  ({ id, nickname }) => html`<label class="choice">
                    <input
                      type="checkbox"
                      .checked=${this.#takes(id)}
                      data-testid="change-safe"
                      data-safe=${nickname}
                      @change=${(event: Event) => this.#toggle(id, (event.target as HTMLInputElement).checked)}
                    />
                    ${nickname}
                  </label>`,
                )}
              </fieldset>
              <div class="stack tight">
                <label for="threshold">How many of them must answer</label>
                <input
                  id="threshold"
                  name="threshold"
                  class="needed"
                  type="number"
                  min=${least(taking)}
                  max=${taking}
                  .value=${String(Math.min(Math.max(this.owner.threshold, least(taking)), Math.max(taking, 2)))}
                  required
                  data-testid="change-threshold"
                />
              </div>`
      }
      <p class="muted small">
        Every safe tries it before it is in force; until then nothing changes. Your other devices have to come back with the passphrase
        of then. While it lasts, this device keeps what it needs of both passphrases.
      </p>
      <p class="muted small" data-testid="change-after">
        Afterwards: passkeys for coming back have to be renewed under <a href="#/returning">ways to come back</a>, and a printed kit made
        again. What you do not know, revoke there: it would still be let in to fetch.
      </p>
      <div>
        <button class="primary" data-testid="change-submit" ?disabled=${this.busy || taking < 2}>
          ${this.busy ? 'Working…' : passphrase ? 'Change passphrase' : 'Change safes'}
        </button>
      </div>
    </form>`;
  }

  #toggle(id: string, on: boolean): void {
    this.chosen = new Map(this.chosen).set(id, on);
  }

  #begin(event: SubmitEvent): void {
    event.preventDefault();
    const { owner } = this;
    const [current, passphrase, again, threshold] = ['current', 'new', 'again', 'threshold'].map((name) =>
      field(event, name),
    ) as [string, string, string, string];
    const other = this.open === 'passphrase';
    const safes = other
      ? owner.seats.map(({ safeId }) => safeId)
      : this.safes.map(({ id }) => id).filter((id) => this.#takes(id));
    void this.act(async () => {
      if (other && passphrase !== again) {
        throw new EngineError({
          code: 'differs',
          message: 'The two passphrases are not the same.',
          next: 'Type the same one twice.',
        });
      }
      const needed = other ? owner.threshold : Number(threshold);
      await session.engine.changeOwner(current, other ? passphrase : null, needed, safes, this.instead);
      this.open = null;
      this.instead = false;
    });
  }

  #progress({ seats, threshold, mayCancel, inForce }: ChangeView): TemplateResult {
    return html`<div class="notice" role="status" data-testid="change-progress" data-in-force=${inForce}>
      ${icon('info')}
      <div class="stack tight">
        <p>
          ${
            inForce
              ? 'The change is in force. What was before is being forgotten; use the passphrase of now.'
              : 'Your safes are taking the change in. Until all have tried it, everything is as it was.'
          }
        </p>
        <p class="small">Afterwards any ${threshold} of these bring you back:</p>
        <ul class="seats">
          ${seats.map((seat) => this.#seat(seat))}
        </ul>
        ${
          mayCancel
            ? html`<div><button data-testid="change-cancel" ?disabled=${this.busy} @click=${() => this.act(() => session.engine.cancelChange())}>Give it up</button></div>`
            : nothing
        }
      </div>
    </div>`;
  }

  #seat({ nickname, done, step, trouble }: OwnerSeat): TemplateResult {
    return html`<li class="small" data-done=${done}>
      ${done ? icon('check') : nothing} ${nickname} ${trouble ?? step}${done ? nothing : '…'}
    </li>`;
  }

  #leaving(): TemplateResult | typeof nothing {
    const { leaving, change } = this.owner;
    if (leaving.length === 0) return nothing;
    return html`<div class="notice warn" role="status" data-testid="change-leaving">
      ${icon('alert')}
      <div class="stack tight">
        <p>
          ${leaving.map(({ nickname }) => nickname).join(', ')} ${leaving.length === 1 ? 'does' : 'do'} not know yet that you have left.
          ${leaving.length === 1 ? 'It keeps' : 'They keep'} a part of your enrolment before, which is of no use to anybody without others
          like it.
        </p>
        ${
          change
            ? nothing
            : leaving.map(
                ({ safeId, nickname }) => html`<div>
                  <button data-testid="change-forget" ?disabled=${this.busy} @click=${() => this.act(() => session.engine.forgetLeaving(safeId))}>
                    Wait no longer for ${nickname}
                  </button>
                </div>`,
              )
        }
      </div>
    </div>`;
  }

  #exposed(): TemplateResult | typeof nothing {
    const { exposed, unkept, exposedLeft, backups, renewing } = this.owner;
    if (exposed + unkept === 0) return nothing;
    return html`<div class="notice warn" role="status" data-testid="change-exposed" data-exposed=${exposed}>
      ${icon('alert')}
      <div class="stack tight">
        ${
          exposed > 0
            ? html`<p data-testid="change-count">${exposed} of ${count(backups, 'backup')} still to be renewed.</p>
                <p class="small">
                  Whoever has the passphrase before, and has read your book by it, knows how these come back. Under new keys they do not.
                </p>`
            : nothing
        }
        ${
          unkept > 0
            ? html`<p data-testid="change-unkept">${unkept} of ${count(backups, 'backup')} can be deleted for good by whoever has an open device of yours.</p>
                <p class="small">
                  They were made before your safes knew you. Once they are renewed, your passphrase brings back for seven days what a device lets go.
                </p>`
            : nothing
        }
        <p class="small">
          ${
            exposedLeft.length > 0
              ? html`${exposedLeft.length} of them you have to renew yourself:
                ${exposedLeft.map((id, n) => html`<a href=${`#/value/${id}`} data-testid="change-by-hand">${n + 1}</a> `)}`
              : nothing
          }
        </p>
        ${
          renewing
            ? html`<p class="small">They are being renewed, some at a time.</p>`
            : html`<div>
                <button data-testid="change-renew" ?disabled=${this.busy} @click=${() => this.act(() => session.engine.renewExposed())}>Renew all</button>
              </div>`
        }
      </div>
    </div>`;
  }
}
