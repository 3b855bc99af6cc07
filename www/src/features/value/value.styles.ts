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
  summary {
    width: fit-content;
    padding-block: 0.25rem;
    color: var(--accent);
    font-size: 0.875rem;
    cursor: pointer;
  }
  details p {
    margin-top: 0.5rem;
    padding: 0.75rem 1rem;
    border-radius: var(--radius-small);
    background: var(--sunken);
  }
`;
