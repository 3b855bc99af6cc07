import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Condition, Rule, RulePreview, WalletView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import type { Dialog } from '../../shared/dialog.ts';
import '../../shared/dialog.ts';
import { count, listed } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import { kinds } from '../../shared/words.ts';
import '../value/choice.ts';
import type { ChosenPlan } from '../value/choice.ts';
import '../value/outlook.ts';
import { conditions, DAY, effects, HOUR, KIB, MIB, templates } from './say.ts';

/** So many values of a preview are named. */
const SHOWN = 6;

/** One rule, new or to be changed. Sends `dismiss` when it is done with, kept or not. */
@customElement('sr-rule-editor')
export class RuleEditor extends Page {
  static override styles = [
    base,
    css`
      .condition {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 0.5rem;
        padding: 0.75rem;
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
      }
      .condition > div {
        grid-column: 1 / -1;
      }
      .amount {
        display: grid;
        grid-template-columns: 8rem 8rem;
        gap: 0.5rem;
      }
      .kinds {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr));
        gap: 0 0.75rem;
      }
      .option {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        align-items: center;
        gap: 0.75rem;
        min-height: 2.25rem;
        font-weight: 450;
      }
      .preview li {
        display: flex;
        flex-wrap: wrap;
        justify-content: space-between;
        gap: 0 0.75rem;
        padding: 0.25rem 0;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  /** The rule that is changed, as it is, and its place; null: a new one. */
  @property({ attribute: false }) rule: Rule | null = null;
  @property({ type: Number }) at = -1;
  @state() private name = '';
  @state() private when: Condition[] = [];
  @state() private moves = false;
  @state() private plan: ChosenPlan = { text: '', reading: null, fits: false };
  @state() private preview: RulePreview | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.rule) this.#begin(this.rule);
    else if (templates[0]) this.#begin(templates[0].rule);
  }

  #begin({ name, when, moves }: Omit<Rule, 'plan' | 'on'>): void {
    this.name = name;
    this.when = when.map((condition) => ({ ...condition }));
    this.moves = moves;
  }

  #draft(): Rule {
    const on = this.rule?.on ?? true;
    return { name: this.name, on, when: this.when, plan: this.plan.text, moves: this.moves };
  }

  protected override updated(): void {
    void this.#look();
  }

  #lastLooked = '';

  /** Asks the engine what it would do; only the newest answer counts. */
  async #look(): Promise<void> {
    const draft = this.#draft();
    const looked = JSON.stringify(draft);
    if (looked === this.#lastLooked) return;
    this.#lastLooked = looked;
    const preview = await session.engine.previewRule(draft);
    if (this.#lastLooked === looked) this.preview = preview;
  }

  protected override render(): TemplateResult {
    return html`<sr-dialog heading=${this.rule ? `Change “${this.rule.name}”` : 'Add a rule'}>
      <form class="stack" @submit=${this.#save}>
        ${this.rule ? nothing : this.#templates()}
        <div class="stack tight">
          <label for="name">Name</label>
          <input
            id="name"
            name="name"
            autocomplete="off"
            maxlength="40"
            required
            .value=${this.name}
            data-testid="rule-name"
            @input=${(event: Event) => {
              this.name = (event.target as HTMLInputElement).value;
            }}
          />
        </div>
        <fieldset class="stack tight">
          <legend>Which values?</legend>
          ${
            this.when.length === 0
              ? html`<p class="muted small">All of them. Each condition that you add leaves fewer.</p>`
              : html`<p class="muted small">Those that meet all of these.</p>`
          }
          ${this.when.map((condition, at) => this.#condition(condition, at))}
          <div>
            <button type="button" class="small" data-testid="condition-add" @click=${this.#add}>${icon('plus')}Add a condition</button>
          </div>
        </fieldset>
        <fieldset>
          <legend>And then?</legend>
          ${this.#choice(false, 'Back them up, and keep them here')}
          ${this.#choice(true, 'Back them up, and take them off this device')}
        </fieldset>
        <details class="more" ?open=${this.rule !== null && this.plan.reading?.text === null}>
          <summary data-testid="rule-plan-open">By which plan?</summary>
          <p class="muted small">What is backed up already keeps its own plan.</p>
          <sr-plan-choice
            .safes=${this.view.safes}
            .begin=${this.rule?.plan ?? ''}
            @plan=${({ detail }: CustomEvent<ChosenPlan>) => {
              this.plan = detail;
            }}
          ></sr-plan-choice>
        </details>
        ${this.#previewed()} ${this.errorBox()}
        <div class="row">
          <button class="primary" data-testid="rule-save" ?disabled=${this.busy || this.preview?.error !== null}>
            ${this.rule ? 'Change it' : 'Add it'}
          </button>
          <button type="button" class="quiet" @click=${this.#close}>Cancel</button>
        </div>
      </form>
    </sr-dialog>`;
  }

  #templates(): TemplateResult {
    return html`<div class="stack tight">
      <label for="template">Begin with</label>
      <select
        id="template"
        data-first
        data-testid="rule-template"
        @change=${(event: Event) => {
          const chosen = templates[Number((event.target as HTMLSelectElement).value)];
          if (chosen) this.#begin(chosen.rule);
        }}
      >
        ${templates.map(({ label }, at) => html`<option value=${at}>${label}</option>`)}
      </select>
    </div>`;
  }

  #choice(moves: boolean, label: string): TemplateResult {
    return html`<label class="option">
      <input
        type="radio"
        name="moves"
        data-testid=${moves ? 'rule-moves' : 'rule-keeps'}
        .checked=${this.moves === moves}
        @change=${() => {
          this.moves = moves;
        }}
      />
      ${label}
    </label>`;
  }

  #condition(condition: Condition, at: number): TemplateResult {
    return html`<div class="condition" data-testid="condition" data-what=${condition.what}>
      <select
        aria-label="Condition ${at + 1}"
        data-testid="condition-what"
        @change=${(event: Event) => {
          const what = (event.target as HTMLSelectElement).value as Condition['what'];
          this.#change(at, { what, words: [], amount: initial[what] });
        }}
      >
        ${Object.entries(conditions).map(
          ([what, label]) =>
            html`<option value=${what} ?selected=${what === condition.what}>${label}</option>`,
        )}
      </select>
      <button type="button" class="quiet" aria-label="Remove condition ${at + 1}" data-testid="condition-remove" @click=${() => this.#remove(at)}>
        ${icon('cross')}
      </button>
      ${this.#of(condition, at)}
    </div>`;
  }

  #of(condition: Condition, at: number): TemplateResult | typeof nothing {
    switch (condition.what) {
      case 'kind':
        return html`<div class="kinds">
          ${Object.entries(kinds).map(
            ([kind, label]) => html`<label class="option">
              <input
                type="checkbox"
                data-testid="condition-kind"
                data-kind=${kind}
                .checked=${condition.words.includes(kind)}
                @change=${(event: Event) => {
                  const others = condition.words.filter((word) => word !== kind);
                  const words = (event.target as HTMLInputElement).checked ? [...others, kind] : others;
                  this.#change(at, { ...condition, words });
                }}
              />
              ${label}
            </label>`,
          )}
        </div>`;
      case 'tag':
        return html`<div>
          <input
            aria-label="Tags, with commas between them: one of these"
            placeholder="travel, work"
            data-testid="condition-tags"
            .value=${condition.words.join(', ')}
            @change=${(event: Event) =>
              this.#change(at, { ...condition, words: listed((event.target as HTMLInputElement).value) })}
          />
        </div>`;
      case 'changed':
        return nothing;
      case 'older':
      case 'unused':
        return this.#amount(condition, at, [
          [HOUR, 'hours'],
          [DAY, 'days'],
        ]);
      default:
        return this.#amount(condition, at, [
          [KIB, 'KiB'],
          [MIB, 'MiB'],
        ]);
    }
  }

  /** A number and its unit: the largest in which it is whole. */
  #amount(condition: Condition, at: number, units: [number, string][]): TemplateResult {
    const { amount } = condition;
    const largest = [...units].reverse().find(([unit]) => amount % unit === 0);
    const [unit] = this.#units.get(at) ?? largest ?? units[0] ?? [1];
    const set = (n: number, of: number) => this.#change(at, { ...condition, amount: Math.max(0, n) * of });
    return html`<div class="amount">
      <input
        type="number"
        min="0"
        step="any"
        aria-label="How much"
        data-testid="condition-amount"
        .value=${String(amount / unit)}
        @change=${(event: Event) => set((event.target as HTMLInputElement).valueAsNumber || 0, unit)}
      />
      <select
        aria-label="Unit"
        data-testid="condition-unit"
        @change=${(event: Event) => {
          const chosen = units[Number((event.target as HTMLSelectElement).value)];
          if (!chosen) return;
          this.#units.set(at, chosen);
          set(amount / unit, chosen[0]);
        }}
      >
        ${units.map(([of, name], index) => html`<option value=${index} ?selected=${of === unit}>${name}</option>`)}
      </select>
    </div>`;
  }

  /** Units that the owner chose himself. */
  readonly #units = new Map<number, [number, string]>();

  #previewed(): TemplateResult | typeof nothing {
    const { preview } = this;
    if (!preview) return nothing;
    if (preview.error !== null) {
      return html`<div class="notice warn" role="status" data-testid="rule-error">
        ${icon('alert')}
        <p class="small">${preview.error}</p>
      </div>`;
    }
    const titles = new Map(this.view.values.map(({ id, title }) => [id, title]));
    const more = preview.values.length - SHOWN;
    return html`<section class="stack tight" aria-labelledby="now" data-testid="rule-preview" data-count=${preview.values.length}>
      <h3 id="now">What it means now</h3>
      ${preview.values.length === 0 ? html`<p class="muted small" role="status">No value meets it now.</p>` : nothing}
      <ul class="preview small">
        ${preview.values.slice(0, SHOWN).map(
          ({ id, effect }) => html`<li data-testid="previewed" data-effect=${effect}>
            <span>${titles.get(id) ?? ''}</span><span class="muted">${effects[effect]}</span>
          </li>`,
        )}
      </ul>
      ${more > 0 ? html`<p class="muted small">And ${count(more, 'other')}.</p>` : nothing}
    </section>`;
  }

  readonly #add = () => {
    this.when = [...this.when, { what: 'kind', words: [], amount: 0 }];
  };

  #change(at: number, condition: Condition): void {
    if (this.when[at]?.what !== condition.what) this.#units.delete(at);
    this.when = this.when.map((known, index) => (index === at ? condition : known));
  }

  #remove(at: number): void {
    this.#units.clear();
    this.when = this.when.filter((_, index) => index !== at);
  }

  async #save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    this.name = field(event, 'name').trim();
    const draft = this.#draft();
    const kept = await this.act(async () => {
      const { rules } = this.view;
      const others = this.rule
        ? rules.map((known, at) => (at === this.at ? draft : known))
        : [...rules, draft];
      await session.engine.setRules(others);
    });
    if (kept) this.#close();
  }

  readonly #close = () => {
    this.renderRoot.querySelector<Dialog>('sr-dialog')?.close();
  };
}

/** What stands in a condition that was just chosen. */
const initial: Record<Condition['what'], number> = {
  kind: 0,
  tag: 0,
  larger: MIB,
  smaller: MIB,
  older: 7 * DAY,
  changed: 0,
  unused: 30 * DAY,
  'room-below': 20 * MIB,
};
