import { css, html, nothing, type TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import type {
  CredentialsReport,
  CredentialView,
  DeviceWish,
  DoneReport,
  WalletView,
} from '../../engine/api.ts';
import { session } from '../../engine/session.ts';
import { count, date } from '../../shared/format.ts';
import { icon } from '../../shared/icons.ts';
import { field, Page } from '../../shared/page.ts';
import '../../shared/strength.ts';
import { base } from '../../shared/styles.ts';
import { enrolDevice, obstacle, recall, wipe } from '../unlock/webauthn.ts';

const kinds = { wallet: 'Device with your wallet', device: 'Passkey or security key', kit: 'Printed kit' };

const names = (credential: CredentialView): string =>
  credential.label || (credential.kind === 'kit' ? 'A kit' : 'Without a name');

/** How its owner is known at the safes, and what he does when a device or a paper is lost. */
@customElement('sr-credentials')
export class Credentials extends Page {
  static override styles = [
    base,
    css`
      .label {
        font-weight: 620;
        overflow-wrap: anywhere;
      }
      li + li {
        padding-top: 1rem;
        border-top: 1px solid var(--line);
      }
      .what {
        flex: 1 1 12rem;
        min-width: 0;
      }
      .ask {
        max-width: 26rem;
      }
    `,
  ];

  @property({ attribute: false }) view!: WalletView;
  @state() private report: CredentialsReport | null = null;
  /** What the passphrase is asked for: to revoke this one, or `tries`. */
  @state() private asked: string | null = null;
  @state() private said = '';
  readonly #obstacle = obstacle();
  #leaving = new AbortController();

  override connectedCallback(): void {
    super.connectedCallback();
    this.#leaving = new AbortController();
    if (this.view.owner?.enrolled) void this.act(() => this.#load());
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#leaving.abort();
  }

  protected override render(): TemplateResult {
    return html`<div class="stack">
      <div class="stack tight">
        <h1 tabindex="-1">Ways to come back</h1>
        <p class="muted">How your safes know you. Whoever has one of these is you: revoke what you have lost.</p>
      </div>
      ${
        this.view.owner?.enrolled
          ? html`${this.#list()} ${this.#passkey()} ${this.#tries()}`
          : html`<p class="notice">${icon('info')}Enrol at safes first, under <a href="#/recover">Recover</a>.</p>`
      }
    </div>`;
  }

  #list(): TemplateResult {
    const { report } = this;
    return html`<section class="card stack" aria-labelledby="known" data-testid="credentials" data-count=${report?.credentials.length ?? -1}>
      <div class="stack tight">
        <h2 id="known">Known at your safes</h2>
        <p>Beside your recovery passphrase, which always works.</p>
      </div>
      ${
        report
          ? html`<ul class="stack">
                ${repeat(
                  report.credentials,
                  ({ id }) => id,
                  (credential) => this.#credential(credential),
                )}
              </ul>
              ${report.silent.length > 0 ? html`<p class="muted small">No answer from ${report.silent.join(', ')}.</p>` : nothing}`
          : html`<p class="muted" role="status">${this.busy ? 'Asking your safes…' : 'Your safes were not asked yet.'}</p>`
      }
      <p role="status" class="small" data-testid="credentials-said" ?hidden=${!this.said}>${this.said}</p>
      ${this.errorBox()}
      <div class="row">
        <button type="button" class="small" data-testid="credentials-again" ?disabled=${this.busy} @click=${() => this.act(() => this.#load())}>
          Ask again
        </button>
      </div>
    </section>`;
  }

  #credential(credential: CredentialView): TemplateResult {
    const { id, kind, added, safes, behind, mine } = credential;
    return html`<li class="stack tight" data-testid="credential-row" data-kind=${kind} data-label=${credential.label} data-mine=${mine}>
      <div class="row apart">
        <div class="what">
          <p class="label">${names(credential)}${mine ? ' (this device)' : nothing}</p>
          <p class="muted small">${kinds[kind]} · since ${date(added)} · known at ${safes.join(', ')}</p>
        </div>
        ${
          mine
            ? nothing
            : html`<button
                type="button"
                class="small danger"
                data-testid="credential-revoke"
                aria-label="Revoke ${names(credential)}"
                ?disabled=${this.busy}
                @click=${() => this.#ask(id)}
              >
                ${kind === 'wallet' ? 'Device lost' : 'Revoke'}
              </button>`
        }
      </div>
      ${behind.length > 0 ? this.#behind(credential) : nothing}
      ${
        this.asked === id
          ? html`${
              kind === 'wallet'
                ? html`<p class="small">
                      Your safes forget this device at once. Whoever has it and can unlock it may have copies of your keys, so what
                      you have backed up is protected anew, under keys that it does not have; what needs words or a file from you is left to
                      you. Your other devices have to come back afterwards, passkeys to be
                      renewed here, and a kit printed again. <a href="#/recover">Recover</a> shows how far it is.
                    </p>
                    ${this.#confirm('Shut it out', (passphrase, next) => session.engine.deviceLost(id, passphrase, next), { another: true })}`
                : this.#confirm('Revoke', (passphrase) => session.engine.revoke(id, passphrase))
            }`
          : nothing
      }
    </li>`;
  }

  /** A passkey is of one enrolment: after another one it has to be at hand once. */
  #behind({ id, safes, behind }: CredentialView): TemplateResult {
    const renewing = `renew ${id}`;
    const where = behind.length < safes.length ? ` at ${behind.join(', ')}` : '';
    return html`<p class="notice warn" data-testid="credential-behind">
        ${icon('alert')}
        <span>
          Your passphrase or your safes were changed since it was last used here, so it does not bring you back${where}. Renew it, and it
          does. If you no longer have it, revoke it: your safes still take whoever has it for you.
        </span>
      </p>
      ${
        this.#obstacle
          ? html`<p class="muted small">${this.#obstacle}</p>`
          : html`<div>
              <button type="button" class="small" data-testid="credential-renew" ?disabled=${this.busy} @click=${() => this.#ask(renewing)}>
                Renew
              </button>
            </div>`
      }
      ${
        this.asked === renewing
          ? this.#confirm('Use it', (passphrase) => this.#renew(id, passphrase), {
              style: 'primary',
              done: 'Renewed and tried',
            })
          : nothing
      }`;
  }

  #renew(id: string, passphrase: string): Promise<DoneReport> {
    return this.#withDevice(passphrase, async ({ input }) => {
      const { handle, output } = await recall(input, this.#leaving.signal);
      try {
        return await session.engine.renewDevice(id, handle, output);
      } finally {
        wipe(handle);
        wipe(output);
      }
    });
  }

  /** Shows its owner to the safes for one use of a passkey, whatever comes of it. */
  async #withDevice(passphrase: string, use: (wish: DeviceWish) => Promise<DoneReport>): Promise<DoneReport> {
    try {
      return await use(await session.engine.beginDevice(passphrase));
    } finally {
      await session.engine.endDevice();
    }
  }

  #confirm(
    what: string,
    work: (passphrase: string, next: string | null) => Promise<DoneReport>,
    { another = false, style = 'danger', done = 'Done' } = {},
  ): TemplateResult {
    const submit = (event: SubmitEvent) => {
      event.preventDefault();
      const passphrase = field(event, 'passphrase');
      const next = another ? field(event, 'next') || null : null;
      void this.#change(async () => {
        const report = await work(passphrase, next);
        this.asked = null;
        await this.#load();
        return sentence(done, report);
      });
    };
    return html`<form class="stack tight ask" @submit=${submit}>
      <label for="passphrase">Recovery passphrase</label>
      <input id="passphrase" name="passphrase" type="password" autocomplete="current-password" required data-testid="credential-passphrase" />
      ${
        another
          ? html`<label for="next">Another recovery passphrase, if this one may be known</label>
              <sr-strength for="next" .known=${[this.view.owner?.name ?? '']}>
                <input id="next" name="next" type="password" autocomplete="new-password" minlength="12" data-testid="credential-next" />
                <p slot="advice" class="muted small">Five or more unrelated words. Empty: it stays.</p>
              </sr-strength>`
          : nothing
      }
      <div><button class=${style} data-testid="credential-confirm" ?disabled=${this.busy}>${what}</button></div>
    </form>`;
  }

  #passkey(): TemplateResult {
    return html`<section class="card stack" aria-labelledby="add">
      <div class="stack tight">
        <h2 id="add">Add a passkey or security key</h2>
        <p>
          With it and the addresses of your safes you come back without typing a name or a passphrase. Your safes show who they are before
          the key is used. Keep the passphrase: it is what is left when a key is lost.
        </p>
      </div>
      ${
        this.#obstacle
          ? html`<p class="muted small">${this.#obstacle}</p>`
          : html`<form class="stack ask" @submit=${this.#add}>
              <div class="stack tight">
                <label for="device-label">What you call it</label>
                <input id="device-label" name="label" maxlength="40" autocomplete="off" placeholder="the blue key" data-testid="device-label" />
              </div>
              <div class="stack tight">
                <label for="device-passphrase">Recovery passphrase</label>
                <input id="device-passphrase" name="passphrase" type="password" autocomplete="current-password" required data-testid="device-passphrase" />
              </div>
              <div><button data-testid="device-add" ?disabled=${this.busy}>${icon('plus')}${this.busy ? 'Working…' : 'Add one'}</button></div>
            </form>`
      }
    </section>`;
  }

  #tries(): TemplateResult | typeof nothing {
    const tries = this.report?.tries ?? 0;
    if (tries === 0) return nothing;
    return html`<section class="card stack" aria-labelledby="tries" data-testid="tries" data-tries=${tries}>
      <div class="stack tight">
        <h2 id="tries">Passphrases that were tried</h2>
        <p>
          ${count(tries, 'wrong passphrase')} ${tries === 1 ? 'was' : 'were'} tried. If it was you, you may have ${tries === 1 ? 'it' : 'them'} forgotten. If it was
          not you, somebody knows your recovery name: forgetting gives them as many new tries.
        </p>
      </div>
      ${
        this.asked === 'tries'
          ? this.#confirm('Forget them', (passphrase) => session.engine.forgetTries(passphrase))
          : html`<div><button type="button" class="small" data-testid="tries-forget" @click=${() => this.#ask('tries')}>Forget them</button></div>`
      }
    </section>`;
  }

  #ask(what: string): void {
    this.asked = this.asked === what ? null : what;
    this.said = '';
    this.error = null;
  }

  #add(event: SubmitEvent): void {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const [label, passphrase] = [field(event, 'label').trim(), field(event, 'passphrase')];
    void this.#change(async () => {
      const report = await this.#withDevice(passphrase, async (wish) => {
        const output = await enrolDevice(wish, this.#leaving.signal);
        try {
          return await session.engine.addDevice(output, label || 'a key');
        } finally {
          wipe(output);
        }
      });
      form.reset();
      await this.#load();
      return sentence('Added and tried', report);
    });
  }

  async #load(): Promise<void> {
    this.report = await session.engine.credentials();
  }

  async #change(work: () => Promise<string>): Promise<void> {
    this.said = '';
    await this.act(async () => {
      this.said = await work();
    });
  }
}

function sentence(what: string, { done, silent }: DoneReport): string {
  const at = `${what} at ${count(done.length, 'safe')}.`;
  return silent.length > 0 ? `${at} Not at ${silent.join(', ')}: do it again when they answer.` : at;
}
