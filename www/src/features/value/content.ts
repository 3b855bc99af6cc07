import { css, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { ValueView } from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { download, fileName } from '../../shared/download.ts';
import { icon } from '../../shared/icons.ts';
import { Page } from '../../shared/page.ts';
import { base } from '../../shared/styles.ts';

const SHOWN_SECONDS = 60;
/** Pictures that a browser draws without running anything. */
const PICTURES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif']);

type Shown = { text: string } | { picture: string };

/** The content of a value that is on this device: shown on request, for a minute, and kept nowhere. */
@customElement('sr-content')
export class Content extends Page {
  static override styles = [
    base,
    css`
      pre {
        max-height: 24rem;
        overflow: auto;
        padding: 1rem 1.125rem;
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
        background: var(--sunken);
        font: 0.9375rem / 1.6 var(--mono);
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
      img {
        display: block;
        max-width: 100%;
        max-height: 28rem;
        border-radius: var(--radius-small);
      }
    `,
  ];

  @property({ attribute: false }) value!: ValueView;
  @state() private shown: Shown | null = null;
  @state() private left = 0;
  @state() private copied = false;
  #ticking: ReturnType<typeof setInterval> | undefined;

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#hide();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get('value');
    if (before && before.id !== this.value.id) this.#hide();
  }

  protected override render(): TemplateResult {
    const { shown } = this;
    const text = isText(this.value);
    const picture = PICTURES.has(this.value.mime);
    return html`<div class="stack">
      ${
        shown
          ? 'text' in shown
            ? html`<pre tabindex="0" aria-label="Content" data-testid="reveal-content">${shown.text}</pre>`
            : html`<img src=${shown.picture} alt="Content of ${this.value.title}" data-testid="reveal-content" />`
          : text || picture
            ? html`<p class="muted">Hidden. Make sure that nobody is looking over your shoulder.</p>`
            : html`<p class="muted">This page cannot show such a file; download it to open it.</p>`
      }
      <div class="row">
        ${
          text || picture
            ? html`<button
                type="button"
                data-testid="reveal"
                aria-pressed=${shown ? 'true' : 'false'}
                ?disabled=${this.busy}
                @click=${() => (shown ? this.#hide() : this.#reveal())}
              >
                ${icon('eye')}${shown ? 'Hide' : 'Reveal'}
              </button>`
            : nothing
        }
        ${
          text
            ? html`<button type="button" data-testid="copy-content" ?disabled=${this.busy} @click=${this.#copy}>
                ${icon('copy')}Copy
              </button>`
            : nothing
        }
        <button type="button" data-testid="download-content" ?disabled=${this.busy} @click=${this.#download}>
          ${icon('download')}Download
        </button>
      </div>
      ${shown ? html`<p class="muted small">Hidden again in ${this.left} seconds.</p>` : nothing}
      <p class="small" role="status" ?hidden=${!this.copied}>
        ${this.copied ? 'Copied. It stays in the clipboard until you copy something else.' : nothing}
      </p>
      ${this.errorBox()}
    </div>`;
  }

  #reveal(): void {
    void this.act(() =>
      this.#withBytes((bytes) => {
        // Locked or left meanwhile: then nobody is to see it.
        if (!this.isConnected) return;
        this.shown = PICTURES.has(this.value.mime)
          ? { picture: URL.createObjectURL(new Blob([bytes], { type: this.value.mime })) }
          : { text: new TextDecoder().decode(bytes) };
        this.left = SHOWN_SECONDS;
        this.#ticking = setInterval(() => {
          this.left -= 1;
          if (this.left <= 0) this.#hide();
        }, 1000);
      }),
    );
  }

  #hide(): void {
    clearInterval(this.#ticking);
    if (this.shown && 'picture' in this.shown) URL.revokeObjectURL(this.shown.picture);
    this.shown = null;
    this.copied = false;
  }

  readonly #copy = () =>
    this.act(() =>
      this.#withBytes(async (bytes) => {
        await navigator.clipboard.writeText(new TextDecoder().decode(bytes));
        this.copied = true;
      }),
    );

  readonly #download = () =>
    this.act(() =>
      this.#withBytes((bytes) => {
        download(
          this.value.fileName ?? fileName(this.value.title, isText(this.value) ? 'txt' : 'bin'),
          bytes,
        );
      }),
    );

  /** Fetches the content for one use and overwrites it afterwards. */
  async #withBytes(use: (bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>): Promise<void> {
    const bytes = (await session.engine.reveal(this.value.id)) as Uint8Array<ArrayBuffer>;
    try {
      await use(bytes);
    } finally {
      bytes.fill(0);
    }
  }
}

/** Typed text, or a file that says it is text. */
export const isText = ({ mime }: ValueView) => mime.startsWith('text/') || mime === 'application/json';
