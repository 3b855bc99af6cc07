import { css, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PlanOutlook, SafeView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { count, size } from '../../shared/format.ts';
import { type IconName, icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';

/** What may become of a safe. */
type Fate = 'there' | 'gone' | 'curious';

const NEXT: Record<Fate, Fate> = { there: 'gone', gone: 'curious', curious: 'there' };
const FATES: Record<Fate, { label: string; icon: IconName }> = {
  there: { label: 'keeps its piece', icon: 'check' },
  gone: { label: 'is gone', icon: 'cross' },
  curious: { label: 'is curious', icon: 'eye' },
};
const TONES: Record<PlanOutlook['sentences'][number]['tone'], IconName> = {
  good: 'check',
  note: 'info',
  warning: 'alert',
};

/** How often a safe may be there, to choose from, and what is taken at first. */
const PRESENCE = [0.9, 0.99, 0.999];
const USUAL = 0.99;

/** What a plan survives, exposes and costs: in sentences, and as a row of safes to play with. */
@customElement('sr-outlook')
export class Outlook extends Page {
  static override styles = [
    base,
    css`
      .sentences li {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        gap: 0.5rem;
        padding: 0.1875rem 0;
        overflow-wrap: anywhere;
      }
      .good svg {
        color: var(--good);
      }
      .note svg {
        color: var(--muted);
      }
      .warning svg {
        color: var(--warn);
      }
      .safes {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr));
        gap: 0.5rem;
      }
      .safes button {
        display: grid;
        justify-items: start;
        justify-content: start;
        width: 100%;
        height: 100%;
        padding: 0.5rem 0.75rem;
        text-align: start;
        overflow-wrap: anywhere;
      }
      .safes small {
        display: flex;
        align-items: center;
        gap: 0.25rem;
        font-weight: 400;
      }
      .safes svg {
        width: 1rem;
        height: 1rem;
      }
      .chance :is(label, select) {
        display: inline;
        width: auto;
        font: inherit;
      }
      .chance select {
        min-height: 0;
        padding: 0.125rem 0.25rem;
      }
      .safes [data-fate='gone'] {
        border-style: dashed;
        color: var(--muted);
        background: transparent;
      }
      .safes [data-fate='curious'] {
        border-color: var(--warn);
        background: var(--warn-soft);
      }
    `,
  ];

  @property() plan = '';
  /** Ids of the values that it is for. */
  @property({ attribute: false }) values: string[] = [];
  @property({ attribute: false }) safes: SafeView[] = [];
  @state() private outlook: PlanOutlook | null = null;
  /** How often each safe is there. */
  @state() private presence = USUAL;
  @state() private fates: ReadonlyMap<string, Fate> = new Map();
  #asked = '';

  protected override willUpdate(_changed: PropertyValues<this>): void {
    void this.#ask();
  }

  protected override render(): TemplateResult | typeof nothing {
    const { outlook } = this;
    if (!outlook?.reading.text) return nothing;
    const { sentences, refusal, cost, reading, scenario } = outlook;
    return html`<section class="stack" aria-label="What this plan means" data-testid="outlook">
      ${
        refusal
          ? html`<div class="notice warn" data-testid="outlook-refusal">
              ${icon('alert')}
              <p class="small">${refusal}</p>
            </div>`
          : nothing
      }
      <ul class="sentences small" aria-live="polite">
        ${sentences.map(
          ({ tone, text }) => html`<li class=${tone} data-testid="outlook-sentence" data-tone=${tone}>
            ${icon(TONES[tone])}<span>${text}</span>
          </li>`,
        )}
      </ul>
      <div class="stack tight">
        <p class="small muted" id="play">What if? Press a safe: gone, then curious, then as it should be.</p>
        <ul class="safes" aria-describedby="play">
          ${reading.safeIds.map((id) => this.#safe(id))}
        </ul>
        <p class="small" role="status" data-testid="outlook-case" data-recovers=${String(scenario?.recovers)} data-reads=${String(scenario?.reads)}>
          ${scenario ? caseSentence(scenario, [...this.fates.values()]) : nothing}
        </p>
      </div>
      ${this.#chance(outlook)} ${cost ? this.#cost(cost) : nothing}
    </section>`;
  }

  #safe(id: string): TemplateResult {
    const name = this.safes.find((safe) => safe.id === id)?.nickname ?? id;
    const fate = this.fates.get(id) ?? 'there';
    return html`<li>
      <button
        type="button"
        data-testid="outlook-safe"
        data-safe=${name}
        data-fate=${fate}
        @click=${() => {
          this.fates = new Map(this.fates).set(id, NEXT[fate]);
        }}
      >
        ${name}<small>${icon(FATES[fate].icon)}${FATES[fate].label}</small>
      </button>
    </li>`;
  }

  #chance({ availability }: PlanOutlook): TemplateResult {
    return html`<p class="small muted chance">
      <label for="presence">If each safe is there</label>
      <select
        id="presence"
        data-testid="outlook-presence"
        @change=${(event: Event) => {
          this.presence = Number((event.target as HTMLSelectElement).value);
        }}
      >
        ${PRESENCE.map((often) => html`<option value=${often} ?selected=${often === this.presence}>${percent(often)}</option>`)}
      </select>
      of the time, it comes back <strong data-testid="outlook-chance">${percent(availability)}</strong> of the time.
    </p>`;
  }

  #cost(cost: NonNullable<PlanOutlook['cost']>): TemplateResult {
    const kept = [
      cost.bookBytes > 0 ? `${size(cost.bookBytes)} in this wallet` : '',
      cost.fileBytes > 0 ? `${size(cost.fileBytes)} in your file` : '',
    ].filter(Boolean);
    return html`<p class="small muted" data-testid="outlook-cost">
      ${size(cost.bytes)} at ${count(cost.safes.length, 'safe')}${kept.length > 0 ? `, ${kept.join(', ')}` : ''};
      ${count(cost.requests, 'request')}, ${count(cost.writes, 'write')} of the safes' stores.
    </p>`;
  }

  async #ask(): Promise<void> {
    const with_ = (fate: Fate) => [...this.fates].filter(([, is]) => is === fate).map(([id]) => id);
    const availability = Object.fromEntries(this.safes.map(({ id }) => [id, this.presence]));
    const what = { gone: with_('gone'), curious: with_('curious'), availability };
    const asked = JSON.stringify([this.plan, this.values, what]);
    if (asked === this.#asked) return;
    this.#asked = asked;
    const outlook = await session.engine.plan.analyse(this.plan, this.values, what);
    if (this.#asked === asked) this.outlook = outlook;
  }
}

/** Never rounded up: what is not certain does not read as if it were. */
function percent(chance: number): string {
  return `${Math.floor(chance * 1e7 + 1e-6) / 1e5} %`;
}

function caseSentence(
  { recovers, recoversElsewhere, reads }: NonNullable<PlanOutlook['scenario']>,
  fates: Fate[],
): string {
  const back = recovers
    ? recoversElsewhere
      ? 'So it comes back.'
      : 'So it comes back on this device only.'
    : 'So it is lost.';
  if (!fates.includes('curious')) return back;
  const read = reads
    ? 'The curious have enough pieces to read it; only the secrets of their envelopes, in your wallet, keep them from it.'
    : 'The curious can read nothing.';
  return `${back} ${read}`;
}
