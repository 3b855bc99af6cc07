import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { OwnerSeat, OwnerView, SafeView } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';
import { session } from '../../engine/session.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import '../../shared/strength.ts';
import { base } from '../../shared/styles.ts';
import { thisDevice } from '../owner/label.ts';
import { least } from './change.ts';

/** Whether all of the owner's safes have the newest book, and everything stands in it. */
const settled = (owner: OwnerView | null): boolean =>
  owner?.enrolled === true && owner.written === owner.seats.length && owner.leftOut === 0;

/** What an owner needs to come back without this device: how to get it, and how it stands. */
@customElement('sr-owner')
export class Owner extends Page {
  static override styles = [
    base,
    css`
      .name {
        padding: 0.75rem 1rem;
        border-radius: var(--radius-small);
        background: var(--sunken);
        font-size: 1.125rem;
        font-weight: 620;
        overflow-wrap: anywhere;
      }
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

  @property({ attribute: false }) owner: OwnerView | null = null;
  @property({ attribute: false }) safes: SafeView[] = [];
  /** Safes that are not to take part. */
  @state() private without: ReadonlySet<string> = new Set();
  /** The name that is being typed, which no passphrase should lean on. */
  @state() private handle: string[] = [];

  protected override firstUpdated(): void {}

  protected override render(): TemplateResult {
    return html`<section class="card stack" aria-labelledby="owner" data-testid="owner" data-enrolled=${this.owner?.enrolled ?? false} data-settled=${settled(this.owner)}>
      <h2 id="owner">If this device is lost</h2>
      ${this.owner ? this.#status(this.owner) : this.#enrol()} ${this.errorBox()}
    </section>`;
  }

  #status(owner: OwnerView): TemplateResult {
    const { name, threshold, enrolled, seats, superseded, written, quorum, leftOut, unread, unreadTrouble } =
      owner;
    const lag = enrolled && !superseded && written < quorum;
    return html`<div class="stack tight">
        <p>Your recovery name:</p>
        <p class="name" data-testid="owner-name">${name}</p>
        <p class="muted small">
          Write it down, with the addresses of your safes. It is no secret, but without it nobody finds what is yours.
        </p>
      </div>
      ${
        enrolled
          ? html`<p>
              With this name, your recovery passphrase and any ${threshold} of ${seats.length} safes everything is back on a new
              device.
            </p>`
          : html`<p role="status">Your safes are taking it in. You may close this page; it goes on the next time.</p>`
      }
      <ul class="seats" data-testid="owner-seats">
        ${seats.map((seat) => this.#seat(seat))}
      </ul>
      ${
        superseded
          ? html`<div class="notice warn" role="status" data-testid="owner-superseded">
              ${icon('alert')}
              <p>
                ${
                  owner.outdated
                    ? 'Your passphrase or your safes were changed on another device. Come back here with the passphrase of now: what you back up here is not in your book until then.'
                    : 'Another device of yours keeps the book at the safes now. What you back up here is not in it: use the other device, or save certificate files.'
                }
              </p>
            </div>`
          : nothing
      }
      ${
        lag
          ? html`<div class="notice" role="status">
              ${icon('info')}
              <p class="small">
                ${written} of ${seats.length} safes have the newest book; it counts once ${quorum} have it. Nothing is let go until
                then.
              </p>
            </div>`
          : nothing
      }
      ${
        unread > 0
          ? html`<div class="notice" role="status" data-testid="owner-unread">
              ${icon('info')}
              <p class="small">
                ${unread === 1 ? 'A part' : `${unread} parts`} of your book ${unread === 1 ? 'is' : 'are'} being fetched from your
                safes; what is in ${unread === 1 ? 'it' : 'them'} appears then.${unreadTrouble.length > 0 ? ` Until now: ${unreadTrouble.join('; ')}.` : ''}
              </p>
            </div>`
          : nothing
      }
      ${
        leftOut > 0
          ? html`<div class="notice warn" role="status" data-testid="owner-left-out">
              ${icon('alert')}
              <p>
                ${leftOut === 1 ? 'One backup has' : `${leftOut} backups have`} no room in the book at the safes yet: too few of them
                answer to take another part of it. Nothing is let go until then. Save a certificate file meanwhile.
              </p>
            </div>`
          : nothing
      }
      ${enrolled ? html`${this.#more(owner)} ${this.#budget(owner)}` : nothing}
      ${enrolled ? html`<sr-change .owner=${owner} .safes=${this.safes}></sr-change>` : nothing}`;
  }

  #seat({ nickname, done, step, trouble }: OwnerSeat): TemplateResult {
    return html`<li class="small" data-done=${done}>
      ${done ? icon('check') : nothing} ${nickname} ${trouble ?? step}${done ? nothing : '…'}
    </li>`;
  }

  #more({ kit }: OwnerView): TemplateResult {
    return html`<div class="stack tight">
      ${
        kit?.stale
          ? html`<div class="notice warn" role="status" data-testid="owner-kit-stale">
              ${icon('alert')}
              <p class="small">Your printed kit ${kit.code} does not fit any more. ${kit.stale} Print a new one.</p>
            </div>`
          : nothing
      }
      <div class="row">
        <a class="button small" href="#/kit" data-testid="kit-open">${icon('document')}${kit ? `Printed kit ${kit.code}` : 'Print a kit'}</a>
        <a class="button small" href="#/returning" data-testid="returning-open">${icon('key')}Ways to come back</a>
      </div>
    </div>`;
  }

  #budget({ seats, threshold, guessesPrompt, guessesLifetime }: OwnerView): TemplateResult {
    return html`<p class="muted small">
      Who knows the name may try ${guessesPrompt} passphrases, then wait a day for each further one, ${guessesLifetime} in all, and no
      more. ${threshold} of the ${seats.length} safes together, or who breaks into as many, could try without end: so it must not be
      guessable.
    </p>`;
  }

  #enrol(): TemplateResult {
    const { safes } = this;
    if (safes.length < 2) {
      return html`<p class="muted">
        Add at least three safes, and you can come back on a new device with a name and a passphrase alone.
      </p>`;
    }
    const taking = safes.filter(({ id }) => !this.without.has(id));
    const lowest = least(taking.length);
    return html`<div class="stack tight">
        <p>Choose a name and a passphrase, and a new device needs nothing else to bring everything back.</p>
        <ul class="muted small">
          <li>No safe, and no group of safes below the number you choose, learns your passphrase or can try others in peace.</li>
          <li>Strangers who know the name get a few tries, and no more.</li>
          <li>As many of the safes as you choose must answer; if fewer are left, the name brings nothing back.</li>
        </ul>
      </div>
      <form class="stack" @submit=${this.#begin}>
        <div class="stack tight">
          <label for="handle">Name</label>
          <input id="handle" name="handle" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="32" required data-testid="enrol-handle" @input=${this.#named} />
          <p class="muted small">Six characters are added, so that nobody finds it by guessing.</p>
        </div>
        <div class="stack tight">
          <label for="recovery">Recovery passphrase</label>
          <sr-strength for="recovery" .known=${this.handle}>
            <input id="recovery" name="recovery" type="password" autocomplete="new-password" minlength="12" required aria-describedby="advice" data-testid="enrol-passphrase" />
            <p id="advice" slot="advice" class="muted small">Five or more unrelated words. You may take the one that opens this wallet.</p>
          </sr-strength>
        </div>
        <div class="stack tight">
          <label for="again">The same again</label>
          <input id="again" name="again" type="password" autocomplete="new-password" required data-testid="enrol-again" />
        </div>
        <fieldset class="stack tight">
          <legend>Safes</legend>
          ${safes.map(
            ({ id, nickname }) => html`<label class="choice">
              <input
                type="checkbox"
                .checked=${!this.without.has(id)}
                data-testid="enrol-safe"
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
            min=${lowest}
            max=${taking.length}
            .value=${String(lowest)}
            required
            data-testid="enrol-threshold"
          />
        </div>
        <div>
          <button class="primary" data-testid="enrol-submit" ?disabled=${this.busy || taking.length < 2}>
            ${this.busy ? 'Working…' : 'Enrol'}
          </button>
        </div>
      </form>`;
  }

  #named(event: Event): void {
    this.handle = [(event.target as HTMLInputElement).value];
  }

  #toggle(id: string, on: boolean): void {
    const without = new Set(this.without);
    if (on) without.delete(id);
    else without.add(id);
    this.without = without;
  }

  #begin(event: SubmitEvent): void {
    event.preventDefault();
    const [handle, passphrase, again, threshold] = ['handle', 'recovery', 'again', 'threshold'].map((name) =>
      field(event, name),
    ) as [string, string, string, string];
    const safes = this.safes.map(({ id }) => id).filter((id) => !this.without.has(id));
    void this.act(async () => {
      if (passphrase !== again) {
        throw new EngineError({
          code: 'differs',
          message: 'The two passphrases are not the same.',
          next: 'Type the same one twice.',
        });
      }
      await session.engine.enrol(handle, passphrase, Number(threshold), safes, thisDevice());
    });
  }
}
