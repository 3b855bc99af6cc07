import { html, type SVGTemplateResult, svg, type TemplateResult } from 'lit';
import type { ValueKind } from '../engine/api.ts';

/** Line drawings on a grid of 24, made for this page. */
const drawings = {
  'seed-phrase': svg`<path d="M12 21v-9M12 12c0-4 2.5-7 8-7 0 5-3 7-8 7ZM12 15c0-3-2-5.5-7-5.5 0 4 2.5 5.5 7 5.500Z"/>`,
  key: svg`<circle cx="8" cy="16" r="4"/><path d="m11 13 8-8M16 8l3 3M13.5 10.500l2 2"/>`,
  'recovery-codes': svg`<rect x="4" y="4" width="16" height="16" rx="2"/><path d="M8 9h3M13 9h3M8 12h3M13 12h3M8 15h3M13 15h3"/>`,
  ticket: svg`<path d="M4 7h16v3.500a1.5 1.5 0 0 0 0 3V17H4v-3.500a1.5 1.5 0 0 0 0-3Z"/><path d="M14 8.500v1M14 11.500v1M14 14.500v1"/>`,
  voucher: svg`<path d="M4 4h8l8 8-8 8-8-8Z"/><circle cx="8.5" cy="8.5" r="1.3"/>`,
  document: svg`<path d="M6 3h8l4 4v14H6Z"/><path d="M14 3v4h4M9 12h6M9 15h6M9 18h3"/>`,
  note: svg`<path d="M5 5h14v9l-5 5H5Z"/><path d="M19 14h-5v5M8 9h8M8 12h5"/>`,
  file: svg`<path d="M6 3h8l4 4v14H6Z"/><path d="M14 3v4h4"/>`,
  safe: svg`<rect x="3.5" y="4" width="17" height="15" rx="2.5"/><circle cx="12" cy="11.5" r="3.5"/><path d="M12 8v1.500M12 13.500V15M6.5 19v2M17.5 19v2"/>`,
  check: svg`<path d="m5 12.5 4.5 4.500L19 7.5"/>`,
  clock: svg`<circle cx="12" cy="12" r="8.5"/><path d="M12 7.500V12l3 2"/>`,
  alert: svg`<path d="M12 4 2.8 19.500h18.400ZM12 10v4.500M12 17v.2"/>`,
  cross: svg`<path d="m6 6 12 12M18 6 6 18"/>`,
  device: svg`<rect x="4" y="5" width="16" height="11" rx="1.5"/><path d="M2.5 19.500h19"/>`,
  moved: svg`<path d="M4 12h14M13 7l5 5-5 5"/>`,
  plus: svg`<path d="M12 5v14M5 12h14"/>`,
  lock: svg`<rect x="5" y="11" width="14" height="9" rx="2"/><path d="M8 11V8a4 4 0 0 1 8 0v3"/>`,
  eye: svg`<path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Z"/><circle cx="12" cy="12" r="2.8"/>`,
  copy: svg`<rect x="8" y="8" width="12" height="12" rx="2"/><path d="M16 8V6a2 2 0 0 0-2-2H6a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h2"/>`,
  download: svg`<path d="M12 4v11M7 11l5 5 5-5M4.5 20h15"/>`,
  back: svg`<path d="M20 12H6M11 6.5 5.5 12l5.5 5.5"/>`,
  info: svg`<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5M12 8v.2"/>`,
  certificate: svg`<rect x="3.5" y="4" width="17" height="12" rx="2"/><path d="M7 8h7M7 11h4"/><circle cx="16" cy="15" r="3"/><path d="m14.5 17.5-.5 4 2-1 2 1-.5-4"/>`,
} satisfies Record<ValueKind | string, SVGTemplateResult>;

export type IconName = keyof typeof drawings;

/** Decoration: what it means stands beside it in words. */
export function icon(name: IconName): TemplateResult {
  return html`<svg
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="1.6"
    stroke-linecap="round"
    stroke-linejoin="round"
    aria-hidden="true"
  >
    ${drawings[name]}
  </svg>`;
}
