import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { RoomView, ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { size } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { MIB } from './say.ts';

/** How much contents take on this device, how much they may, and what is missing. */
@customElement('sr-room')
export class Room extends Page {
  static override styles = [
    base,
    css`
      .ask {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.5rem;
      }
      .ask input {
        flex: 0 1 9rem;
        width: 9rem;
      }
    `,
  ];

  @property({ attribute: false }) room!: RoomView;
  @property({ attribute: false }) values: ValueView[] = [];

  protected override firstUpdated(): void {}

  protected override render(): TemplateResult {
    const { set, capacity, used, free, lacking } = this.room;
    return html`<section class="card stack" aria-labelledby="room" data-testid="room" data-lacking=${lacking}>
      <div class="stack tight">
        <h2 id="room">Room on this device</h2>
        <p>
          Your values take ${size(used)}${free === null ? '' : `; there is room for ${size(free)} more`}.
        </p>
        ${
          capacity === null || capacity === 0
            ? nothing
            : html`<progress max="1" .value=${Math.min(used / capacity, 1)} aria-labelledby="room"></progress>`
        }
      </div>
      ${lacking > 0 ? this.#lacking(lacking) : nothing}
      <form class="stack tight" @submit=${this.#limit}>
        <label for="capacity">Take at most</label>
        <div class="ask">
          <input
            id="capacity"
            name="capacity"
            type="number"
            min="0"
            step="any"
            placeholder="no limit"
            data-testid="room-capacity"
            .value=${set === null ? '' : String(Math.round((set / MIB) * 100) / 100)}
          />
          <span>MiB</span>
          <button class="small" data-testid="room-set" ?disabled=${this.busy}>Set</button>
        </div>
        <p class="muted small">Left empty, it is as much as the browser gives.</p>
      </form>
      ${this.errorBox()}
    </section>`;
  }

  #lacking(lacking: number): TemplateResult {
    const titles = new Map(this.values.map(({ id, title }) => [id, title]));
    const leaving = this.room.leaving.map((id) => `“${titles.get(id) ?? ''}”`);
    return html`<div class="notice warn" role="status">
      ${icon('alert')}
      <p class="small" data-testid="room-lacking">
        ${size(lacking)} are missing for what waits.
        ${
          leaving.length > 0
            ? `Going to the safes to make room: ${leaving.join(', ')}.`
            : 'No rule says what may go: add one for when room is short, move values yourself, or raise the limit.'
        }
      </p>
    </div>`;
  }

  #limit(event: SubmitEvent): void {
    event.preventDefault();
    const typed = field(event, 'capacity');
    const bytes = typed === '' ? null : Math.round(Math.max(0, Number(typed)) * MIB);
    void this.act(() => session.engine.setCapacity(bytes));
  }
}
