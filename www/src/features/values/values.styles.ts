import { css } from 'lit';

export const list = css`
  .values {
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--surface);
    box-shadow: var(--shadow);
  }
  .values li + li {
    border-top: 1px solid var(--line);
  }
  .values a {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr) auto;
    align-items: center;
    gap: 0.25rem 1rem;
    padding: 1rem 1.25rem;
    border-radius: var(--radius);
    color: inherit;
    text-decoration: none;
    transition: background-color 120ms;
  }
  .values a:hover {
    background: color-mix(in srgb, var(--sunken) 45%, transparent);
  }
  .values a:focus-visible {
    outline-offset: -3px;
    border-radius: var(--radius);
  }
  .kind {
    display: grid;
    place-items: center;
    width: 2.5rem;
    height: 2.5rem;
    border-radius: var(--radius-small);
    background: var(--sunken);
    color: var(--muted);
  }
  .what {
    display: grid;
  }
  .title {
    font-weight: 600;
    overflow-wrap: anywhere;
  }
  .reason {
    grid-column: 2 / -1;
  }
  .wide {
    grid-column: 2 / -1;
    margin-top: 0.25rem;
  }
  .drop-hint {
    text-align: center;
  }

  .guide {
    display: grid;
    gap: 1.5rem;
    margin-top: 1.25rem;
    counter-reset: step;
  }
  .guide li {
    display: grid;
    grid-template-columns: 2rem minmax(0, 1fr);
    gap: 0.25rem 0.875rem;
    justify-items: start;
    counter-increment: step;
  }
  .guide li::before {
    content: counter(step);
    grid-row: 1 / span 2;
    display: grid;
    place-items: center;
    width: 2rem;
    height: 2rem;
    border-radius: 50%;
    background: var(--accent-soft);
    color: var(--accent);
    font-weight: 620;
    font-size: 0.9375rem;
  }
  .guide li.done::before {
    content: '✓' / '';
    background: var(--good-soft);
    color: var(--good);
  }
  .guide li > * {
    grid-column: 2;
  }
  .guide h3 {
    line-height: 2rem;
  }
  .guide .button {
    margin-top: 0.5rem;
  }

  .drop {
    position: fixed;
    inset: 0;
    display: grid;
    place-items: center;
    padding: 1rem;
    background: color-mix(in srgb, var(--ground) 85%, transparent);
    pointer-events: none;
  }
  .drop p {
    display: flex;
    align-items: center;
    gap: 0.75rem;
    padding: 2.5rem 3rem;
    border: 2px dashed var(--accent);
    border-radius: var(--radius);
    background: var(--surface);
    color: var(--accent);
    font-weight: 600;
  }

  @media (max-width: 30rem) {
    .values a {
      grid-template-columns: auto minmax(0, 1fr);
      gap: 0.375rem 0.875rem;
      padding: 1rem;
    }
    .values [data-testid='value-state'] {
      grid-column: 2;
    }
  }
`;
