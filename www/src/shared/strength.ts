import { css, html, LitElement, type PropertyValues, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { type Estimator, startEstimating } from '../engine/bridge.ts';
import type { Estimate } from '../engine/guesses.ts';
import { session } from '../engine/session.ts';
import { SHORTEST } from './passphrase.ts';
import { base } from './styles.ts';

const DAY = 86_400;
const YEAR = 365.25 * DAY;

/**
 * Guesses a second of somebody who has what the passphrase seals and rents computers. One guess is Argon2id with 64 MiB and three passes, which
 * moves 8 × 64 MiB through the memory; a large graphics card (1 TB/s) makes 1,700 a second, sixty of them 10^5, for about 30 $ an hour.
 * Whoever has one such card takes sixty times as long.
 */
const RATE = 1e5;
/** Below this it is found within a day, for less than 1,000 $: 10^9.9 guesses. */
const EASY = Math.log10(RATE * DAY);
/** From here on it takes a hundred years, or 30 million $: 10^14.5 guesses. Four words drawn by dice mostly reach it, five always do. */
const STRONG = Math.log10(RATE * 100 * YEAR);
/** A full bar: five words drawn by dice, 65 bits. */
const FULL = 20;
/** What is below this a stranger may find at the safes, which answer fewer than a hundred guesses (spec/owner.md §6), ten times that for doubt. */
const COUNTED = 3;

/** What the passphrase is for. */
type Purpose = 'wallet' | 'recovery' | 'file';

/** Who may guess without being counted. */
const guessers: Record<Purpose, string> = {
  wallet: 'who steals this device',
  recovery: 'who breaks into enough safes',
  file: 'who finds the file',
};

type Verdict = 'none' | 'short' | 'easy' | 'fair' | 'strong';

/**
 * How easily a new passphrase is guessed. Stands around the field, and around the advice that it takes the place of (slot `advice`) once
 * something is typed. It forbids nothing, and without its estimator the advice stays.
 */
@customElement('sr-strength')
export class Strength extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: grid;
        gap: 0.5rem;
        grid-template-columns: minmax(0, 1fr);
        container-type: inline-size;
      }
      meter {
        display: block;
        width: 100%;
        height: 0.375rem;
        border: 0;
        border-radius: 1rem;
        overflow: hidden;
        appearance: none;
        background: var(--sunken);
      }
      meter::-webkit-meter-inner-element {
        display: block;
        height: 100%;
      }
      meter::-webkit-meter-bar {
        inset: 0;
        height: 100%;
        border: 0;
        background: none;
      }
      meter::-webkit-meter-optimum-value {
        background: var(--good);
      }
      meter::-webkit-meter-suboptimum-value {
        background: var(--warn);
      }
      meter::-webkit-meter-even-less-good-value {
        background: var(--bad);
      }
      meter:-moz-meter-optimum::-moz-meter-bar {
        background: var(--good);
      }
      meter:-moz-meter-sub-optimum::-moz-meter-bar {
        background: var(--warn);
      }
      meter:-moz-meter-sub-sub-optimum::-moz-meter-bar {
        background: var(--bad);
      }
      /* Room for the longest sentence, so that nothing below moves. */
      .words {
        min-height: 4lh;
        font-size: 0.875rem;
      }
      @container (min-width: 26rem) {
        .words {
          min-height: 3lh;
        }
      }
      @container (min-width: 40rem) {
        .words {
          min-height: 2lh;
        }
      }
      strong {
        font-weight: 600;
      }
      [data-verdict='easy'] strong {
        color: var(--bad);
      }
      [data-verdict='fair'] strong {
        color: var(--warn);
      }
      [data-verdict='strong'] strong {
        color: var(--good);
      }
      @media (forced-colors: active) {
        meter {
          appearance: auto;
        }
      }
    `,
  ];

  @property() for: Purpose = 'wallet';
  /** What whoever guesses would try first, besides what the wallet shows. */
  @property({ attribute: false }) known: string[] = [];
  @state() private typed = '';
  @state() private estimate: Estimate | null = null;

  #estimator: Estimator | undefined;
  #asking = false;

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#estimator?.end();
    this.#estimator = undefined;
    this.#asking = false;
  }

  protected override updated(changed: PropertyValues): void {
    if (this.typed && (changed.has('typed') || changed.has('known'))) void this.#ask();
  }

  protected override render(): TemplateResult {
    const { verdict } = this;
    const [says, because] = this.#sentence(verdict);
    return html`<slot @input=${this.#onInput}></slot>
      <meter
        aria-label="How hard it is to guess"
        aria-valuetext=${says}
        max=${FULL}
        low=${EASY}
        high=${STRONG}
        optimum=${FULL}
        .value=${this.#level(verdict)}
      ></meter>
      <div class="words">
        <div ?hidden=${verdict !== 'none'}><slot name="advice"></slot></div>
        <p aria-live="polite" data-testid="strength" data-verdict=${verdict}><strong>${says}</strong>${because}</p>
      </div>`;
  }

  private get verdict(): Verdict {
    const { typed, estimate } = this;
    if (typed === '') return 'none';
    if ([...typed].length < SHORTEST) return 'short';
    if (estimate === null) return 'none';
    return estimate.log10 < EASY ? 'easy' : estimate.log10 < STRONG ? 'fair' : 'strong';
  }

  #level(verdict: Verdict): number {
    const level = Math.min(this.estimate?.log10 ?? 0, FULL);
    // One that is refused anyway looks no better than one that is easy.
    return verdict === 'none' ? 0 : verdict === 'short' ? Math.min(level, EASY / 2) : level;
  }

  #sentence(verdict: Verdict): [says: string, because: string] {
    const { log10, weakness } = this.estimate ?? { log10: 0, weakness: null };
    const guesser = guessers[this.for];
    switch (verdict) {
      case 'none':
        return ['', ''];
      case 'short':
        return ['Too short', `: at least ${SHORTEST} characters.`];
      case 'easy': {
        const advice = weaknesses[weakness ?? ''] ?? 'Add unrelated words.';
        if (this.for === 'recovery' && log10 < COUNTED) {
          return ['Too easy to guess', `: even the few tries that the safes allow may find it. ${advice}`];
        }
        return [
          'Too easy to guess',
          `: ${guesser} and rents computers has it within ${span(log10)}. ${advice}`,
        ];
      }
      case 'fair':
        return [
          'Could be harder to guess',
          `: ${guesser} and rents computers has it within ${span(log10)}. Another word helps.`,
        ];
      case 'strong':
        return [
          'Strong enough',
          `: ${guesser} would have to rent computers for a century. Quotations and plain words of other languages fall sooner.`,
        ];
    }
  }

  /** While an answer is awaited nothing else is asked. Whoever types on gets the one for what is there at last; those before it are dropped. */
  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      this.#estimator ??= startEstimating();
      const estimator = this.#estimator;
      while (this.typed) {
        const { typed, known } = this;
        const estimate = await estimator.estimate(typed, [...known, ...shown()]);
        if (typed !== this.typed || known !== this.known) continue;
        this.estimate = estimate;
        break;
      }
      this.#asking = false;
    } catch {
      // Its script did not come. `#asking` stays, so that it is not asked for at every key; the advice stays, too.
      this.estimate = null;
    }
  }

  #onInput(event: Event): void {
    this.typed = (event.target as HTMLInputElement).value;
    if (this.typed === '') this.estimate = null;
  }
}

/** Names that stand in the open in this wallet. */
function shown(): string[] {
  const { owner, safes = [], values = [] } = session.view ?? {};
  const names = [
    owner?.name ?? '',
    ...safes.map(({ nickname }) => nickname),
    ...values.map(({ title }) => title),
  ];
  return ['strongroom', ...new Set(names.flatMap((name) => [name, ...name.split(/[\s.-]+/)]))].filter(
    Boolean,
  );
}

/** How long so many guesses take whoever makes `RATE` a second. */
function span(log10: number): string {
  const seconds = 10 ** log10 / RATE;
  const spans: [number, string][] = [
    [60, 'a minute'],
    [3600, 'an hour'],
    [DAY, 'a day'],
    [31 * DAY, 'a month'],
    [YEAR, 'a year'],
    [10 * YEAR, 'ten years'],
  ];
  return spans.find(([most]) => seconds <= most)?.[1] ?? 'a hundred years';
}

/** What to say for the estimator's name of a weakness. */
const weaknesses: Record<string, string> = {
  straightRow: 'Keys in a row are tried early.',
  keyPattern: 'Keys in a row are tried early.',
  simpleRepeat: 'Repeating adds next to nothing.',
  extendedRepeat: 'Repeating adds next to nothing.',
  sequences: 'Rows of letters or digits are tried early.',
  recentYears: 'Years are tried early.',
  dates: 'Dates are tried early.',
  topTen: 'Many people use it.',
  topHundred: 'Many people use it.',
  common: 'Many people use it.',
  similarToCommon: 'Many people use one like it.',
  wordByItself: 'A single word is tried early.',
  namesByThemselves: 'Names are tried early.',
  commonNames: 'Names are tried early.',
  userInputs: 'Names that you use here are tried early.',
};
