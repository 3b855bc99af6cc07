import { css } from 'lit';

export const shell = css`
  :host {
    display: flex;
    flex-direction: column;
    min-height: 100dvh;
  }
  header {
    border-bottom: 1px solid var(--line);
    background: var(--surface);
  }
  .bar,
  main,
  footer {
    width: 100%;
    max-width: 50rem;
    margin: 0 auto;
    padding-inline: 1.25rem;
  }
  .bar {
    display: flex;
    align-items: center;
    gap: 0.5rem 1.5rem;
    min-height: 4rem;
  }
  .brand {
    display: inline-flex;
    align-items: center;
    gap: 0.5rem;
    min-height: 2.75rem;
    color: var(--ink);
    font-weight: 650;
    font-size: 1.0625rem;
    letter-spacing: -0.01em;
    text-decoration: none;
  }
  .brand svg {
    width: 1.625rem;
    height: 1.625rem;
    color: var(--accent);
  }
  nav {
    display: flex;
    flex: 1;
    gap: 0.25rem;
  }
  nav a {
    display: inline-flex;
    align-items: center;
    min-height: 2.5rem;
    padding: 0 0.75rem;
    border-radius: var(--radius-small);
    color: var(--muted);
    font-weight: 550;
    font-size: 0.9375rem;
    text-decoration: none;
  }
  nav a:hover {
    color: var(--ink);
    background: var(--sunken);
  }
  nav a[aria-current] {
    color: var(--accent);
    background: var(--accent-soft);
  }
  main {
    flex: 1;
    padding-block: 2.5rem 3rem;
  }
  footer {
    display: grid;
    gap: 1rem;
    padding-block: 1.5rem 2.5rem;
    border-top: 1px solid var(--line);
  }
  footer .row {
    align-items: start;
    gap: 1.5rem;
  }
  footer .row > * {
    flex: 1 1 16rem;
  }
  footer :is(button, .button) {
    justify-self: start;
  }

  @media (max-width: 40rem) {
    .bar {
      flex-wrap: wrap;
      justify-content: space-between;
      padding-block: 0.5rem;
    }
    nav {
      order: 3;
      flex: 1 1 100%;
      justify-content: space-between;
      gap: 0;
      margin-inline: -0.5rem;
    }
    nav a {
      min-height: 2.75rem;
      padding: 0 clamp(0.25rem, 1.6vw, 0.75rem);
      font-size: clamp(0.8125rem, 3.7vw, 0.9375rem);
    }
    main {
      padding-block: 1.75rem 2.5rem;
    }
  }

  /* What is printed is a sheet in the page, and nothing around it. */
  @media print {
    header,
    footer {
      display: none;
    }
    main {
      max-width: none;
      padding: 0;
    }
  }
`;
