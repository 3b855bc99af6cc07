import { css } from 'lit';

/** Controls and blocks that every component uses. */
export const base = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :host([hidden]),
  [hidden] {
    display: none !important;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  ol,
  dl,
  dd,
  fieldset,
  pre {
    margin: 0;
    padding: 0;
  }
  ul,
  ol {
    list-style: none;
  }
  h1 {
    font-size: 1.75rem;
    line-height: 1.2;
    font-weight: 620;
    letter-spacing: -0.015em;
    overflow-wrap: anywhere;
  }
  /* Focused by script when a page opens, so that screen readers start there; it is no control. */
  h1:focus {
    outline: none;
  }
  h2 {
    font-size: 1.125rem;
    line-height: 1.3;
    font-weight: 620;
  }
  h3 {
    font-size: 1rem;
    font-weight: 620;
  }
  a {
    color: var(--accent);
    text-underline-offset: 0.2em;
  }
  :focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
    border-radius: 4px;
  }
  svg {
    flex: none;
    width: 1.25rem;
    height: 1.25rem;
  }

  button,
  .button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    min-height: 2.75rem;
    padding: 0.5rem 1.125rem;
    border: 1px solid var(--edge);
    border-radius: var(--radius-small);
    background: var(--surface);
    color: var(--ink);
    font: 550 0.9375rem / 1.2 var(--font);
    text-decoration: none;
    cursor: pointer;
    transition: background-color 120ms;
  }
  button:hover:not(:disabled),
  .button:hover {
    background: var(--sunken);
  }
  button:disabled {
    opacity: 0.55;
    cursor: not-allowed;
  }
  button.primary,
  .button.primary {
    border-color: var(--accent);
    background: var(--accent);
    color: var(--on-accent);
  }
  button.primary:hover:not(:disabled),
  .button.primary:hover {
    background: var(--accent-strong);
  }
  button.danger {
    border-color: var(--bad);
    color: var(--bad);
  }
  button.danger:hover:not(:disabled) {
    background: var(--bad-soft);
  }
  button.quiet {
    border-color: transparent;
    background: transparent;
    color: var(--accent);
  }
  button.small,
  .button.small {
    min-height: 2.25rem;
    padding: 0.25rem 0.75rem;
    font-size: 0.875rem;
  }

  label,
  legend {
    display: block;
    padding: 0;
    font-weight: 550;
    font-size: 0.9375rem;
  }
  input:not([type='checkbox'], [type='radio'], [type='file']),
  select,
  textarea {
    display: block;
    width: 100%;
    min-height: 2.75rem;
    padding: 0.5rem 0.75rem;
    border: 1px solid var(--edge);
    border-radius: var(--radius-small);
    background: var(--surface);
    color: var(--ink);
    font: 400 1rem / 1.4 var(--font);
  }
  ::placeholder {
    color: var(--muted);
    opacity: 1;
  }
  textarea {
    min-height: 7rem;
    resize: vertical;
  }
  input[type='file'] {
    max-width: 100%;
    color: var(--muted);
    font: 400 0.9375rem / 1.4 var(--font);
  }
  input[type='file']::file-selector-button {
    min-height: 2.25rem;
    margin-inline-end: 0.75rem;
    padding: 0.25rem 0.875rem;
    border: 1px solid var(--edge);
    border-radius: var(--radius-small);
    background: var(--surface);
    color: var(--ink);
    font: 550 0.875rem var(--font);
    cursor: pointer;
  }
  input:is([type='checkbox'], [type='radio']) {
    width: 1.125rem;
    height: 1.125rem;
    margin: 0;
    accent-color: var(--accent);
  }
  .qr {
    width: 100%;
    max-width: 22rem;
    height: auto;
  }
  fieldset {
    border: 0;
    min-width: 0;
  }
  progress {
    display: block;
    width: 100%;
    height: 0.5rem;
    border: 0;
    border-radius: 1rem;
    overflow: hidden;
    appearance: none;
    background: var(--sunken);
  }
  progress::-webkit-progress-bar {
    background: var(--sunken);
  }
  progress::-webkit-progress-value {
    background: var(--accent);
    border-radius: 1rem;
    transition: inline-size 250ms;
  }
  progress::-moz-progress-bar {
    background: var(--accent);
    border-radius: 1rem;
  }

  .stack {
    display: grid;
    gap: 1.25rem;
    grid-template-columns: minmax(0, 1fr);
  }
  .stack.tight {
    gap: 0.375rem;
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.75rem;
  }
  .row.apart {
    justify-content: space-between;
  }
  .card {
    padding: 1.5rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--surface);
    box-shadow: var(--shadow);
  }
  .muted {
    color: var(--muted);
  }
  .small {
    font-size: 0.875rem;
  }
  .mono {
    font-family: var(--mono);
    font-size: 0.875rem;
    overflow-wrap: anywhere;
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  .notice {
    display: flex;
    gap: 0.75rem;
    padding: 0.875rem 1rem;
    border-radius: var(--radius-small);
    background: var(--accent-soft);
  }
  .notice svg {
    margin-top: 0.125rem;
    color: var(--accent);
  }
  .notice.warn {
    background: var(--warn-soft);
  }
  .notice.warn svg {
    color: var(--warn);
  }
  .notice.bad {
    background: var(--bad-soft);
  }
  .notice.bad svg {
    color: var(--bad);
  }

  .badge {
    display: inline-flex;
    align-items: center;
    gap: 0.375rem;
    padding: 0.125rem 0.625rem 0.125rem 0.5rem;
    border-radius: 1rem;
    background: var(--sunken);
    color: var(--muted);
    font-size: 0.8125rem;
    font-weight: 600;
    line-height: 1.5;
    white-space: nowrap;
  }
  .badge svg {
    width: 0.9375rem;
    height: 0.9375rem;
  }
  .badge.good {
    background: var(--good-soft);
    color: var(--good);
  }
  .badge.busy {
    background: var(--accent-soft);
    color: var(--accent);
  }
  .badge.warn {
    background: var(--warn-soft);
    color: var(--warn);
  }
  .badge.bad {
    background: var(--bad-soft);
    color: var(--bad);
  }

  @media (max-width: 30rem) {
    .card {
      padding: 1.125rem;
    }
    h1 {
      font-size: 1.5rem;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      transition: none !important;
      animation: none !important;
    }
  }
  @media (forced-colors: active) {
    .badge,
    .notice {
      border: 1px solid;
    }
  }
  /* What most people need not see. */
  .more > * + * {
    margin-top: 0.75rem;
  }
  .more > summary {
    width: fit-content;
    padding-block: 0.25rem;
    color: var(--accent);
    font-size: 0.875rem;
    cursor: pointer;
  }
  /* The way back to where a page hangs. */
  .up {
    display: inline-flex;
    align-items: center;
    gap: 0.375rem;
    width: fit-content;
    min-height: 2rem;
    font-size: 0.9375rem;
    text-decoration: none;
  }
  .up:hover {
    text-decoration: underline;
  }
`;

/** Terms and what they are, side by side, or one above the other where it is narrow. */
export const facts = css`
  dl {
    display: grid;
    grid-template-columns: max-content minmax(0, 1fr);
    gap: 0.25rem 1rem;
    font-size: 0.875rem;
  }
  dt {
    color: var(--muted);
  }
  dd {
    overflow-wrap: anywhere;
  }
  @media (max-width: 30rem) {
    dl {
      grid-template-columns: minmax(0, 1fr);
      gap: 0;
    }
    dd {
      margin-bottom: 0.375rem;
    }
  }
`;
