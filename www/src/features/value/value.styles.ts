import { css } from 'lit';

export const one = css`
  .head {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 1rem;
  }
  .kind {
    display: grid;
    place-items: center;
    width: 3rem;
    height: 3rem;
    border-radius: var(--radius-small);
    background: var(--accent-soft);
    color: var(--accent);
  }
  .kind svg {
    width: 1.5rem;
    height: 1.5rem;
  }
  details p {
    padding: 0.75rem 1rem;
    border-radius: var(--radius-small);
    background: var(--sunken);
  }
`;
