import { css, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Rule, RulePreview, WalletView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { count } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';
import './editor.ts';
import './room.ts';
import { say } from './say.ts';

/** What is done by itself, and the room on this device. */
@customElement('sr-rules')
export class Rules extends Page {
  static override styles = [
    base,
    css`
      .rules {
        display: grid;
        gap: 0.75rem;
      }
      .name {
        font-weight: 620;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  /** The place of the rule that is being changed; `rules.length` a new one; null: none. */
  @state() private editing: number | null = null;
  @state() private previews: RulePreview[] = [];

  protected override updated(changed: PropertyValues<this>): void {
    if (changed.has('view')) void this.#look();
  }

  #looking = false;
  #again = false;

  /** What each of them means now. One look at a time, for views come often. */
  async #look(): Promise<void> {
    this.#again = true;
    if (this.#looking) return;
    this.#looking = true;
    while (this.#again && this.isConnected) {
      this.#again = false;
      // Locked meanwhile, perhaps: then there is nothing to be said.
      this.previews = await Promise.all(
        this.view.rules.map((rule) => session.engine.previewRule(rule)),
      ).catch(() => []);
    }
    this.#looking = false;
  }

  protected override render(): TemplateResult {
    const { rules, safes, values } = this.view;
    const { editing } = this;
    return html`<div class="stack">
      <div class="row apart">
        <h1 tabindex="-1">Rules</h1>
        ${
          safes.length > 0
            ? html`<button
                type="button"
                class=${rules.length === 0 ? 'primary' : ''}
                data-testid="rule-add"
                @click=${() => {
                  this.editing = rules.length;
                }}
              >
                ${icon('plus')}Add a rule
              </button>`
            : html`<a class="button" href="#/safes">Add safes first</a>`
        }
      </div>
      <p class="muted">
        A rule backs up what you describe, by itself, while the wallet is open: what is new, what was changed, what grows old. The first
        one that a value meets gives the plan; if one of them takes it off this device, it goes. What you take back by hand is left
        alone until you change it.
      </p>
      ${this.errorBox()}
      ${
        rules.length === 0
          ? nothing
          : html`<ol class="rules">
              ${rules.map((rule, at) => this.#rule(rule, at))}
            </ol>`
      }
      <sr-room .room=${this.view.room} .values=${values}></sr-room>
      ${
        editing === null
          ? nothing
          : html`<sr-rule-editor
              .view=${this.view}
              .rule=${rules[editing] ?? null}
              .at=${editing}
              @dismiss=${() => {
                this.editing = null;
              }}
            ></sr-rule-editor>`
      }
    </div>`;
  }

  #rule(rule: Rule, at: number): TemplateResult {
    const { rules } = this.view;
    const matching = this.previews[at]?.values.length;
    return html`<li class="card stack tight" data-testid="rule-row" data-rule=${rule.name} data-on=${rule.on}>
      <div class="row apart">
        <label class="row name">
          <input
            type="checkbox"
            role="switch"
            data-testid="rule-on"
            ?disabled=${this.busy}
            .checked=${rule.on}
            @change=${() => this.#replace(at, { ...rule, on: !rule.on })}
          />
          ${rule.name}
        </label>
        <span class="muted small" data-testid="rule-count">
          ${matching === undefined ? nothing : `${count(matching, 'value')} now`}
        </span>
      </div>
      <p>${say(rule)}</p>
      <details class="more">
        <summary>By which plan</summary>
        <p class="mono small">${rule.plan}</p>
      </details>
      <div class="row">
        <button type="button" class="small" data-testid="rule-edit" @click=${() => {
          this.editing = at;
        }}>Change</button>
        ${
          at > 0
            ? html`<button type="button" class="small" data-testid="rule-first" ?disabled=${this.busy} @click=${() => this.#up(at)}>
                Before “${rules[at - 1]?.name}”
              </button>`
            : nothing
        }
        <button
          type="button"
          class="small danger"
          data-testid="rule-delete"
          ?disabled=${this.busy}
          @click=${() => this.#set(rules.filter((_, index) => index !== at))}
        >
          Delete
        </button>
      </div>
    </li>`;
  }

  #replace(at: number, rule: Rule): void {
    this.#set(this.view.rules.map((known, index) => (index === at ? rule : known)));
  }

  #up(at: number): void {
    const rules = [...this.view.rules];
    rules.splice(at - 1, 0, ...rules.splice(at, 1));
    this.#set(rules);
  }

  #set(rules: Rule[]): void {
    void this.act(() => session.engine.setRules(rules));
  }
}
