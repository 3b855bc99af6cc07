/** Small files as text, for a QR code, for paper, or to be typed. Spec: `spec/recovery.md` §4. */
import { generate } from 'lean-qr';
import { html, svg, type TemplateResult } from 'lit';
import { EngineError } from '../engine/errors.ts';

const PREFIX = 'strongroom-piece:';
/** Longest file that is shown so, bytes: its text has 2,017 characters, a code of 150 modules a side that telephones still read. */
export const LONGEST = 1500;
/** White around a code, in modules (ISO/IEC 18004 §9.1). */
const QUIET = 4;

/** base64url without padding (RFC 4648 §5). */
export function toText(bytes: Uint8Array): string {
  const base64 = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  return PREFIX + base64.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

/** Inverse of `toText`; null: it is no such text. Space anywhere is left out, as paper and mail add it. */
function fromText(text: string): Uint8Array | null {
  const plain = text.replace(/\s+/g, '');
  if (!plain.startsWith(PREFIX)) return null;
  try {
    const base64 = plain.slice(PREFIX.length).replace(/-/g, '+').replace(/_/g, '/');
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}

/** The file that a typed text is. */
export function textOfPiece(text: string): Uint8Array {
  const file = fromText(text);
  if (file) return file;
  throw new EngineError({
    code: 'not-the-piece-file',
    message: `This is not the text of a piece: it begins with “${PREFIX}”.`,
    next: 'Enter all of it, as it stands in the code.',
  });
}

/** A QR code of a text: black on white in every theme, so that it is read. */
export function qr(text: string, label: string): TemplateResult {
  const code = generate(text);
  const side = code.size + 2 * QUIET;
  let dark = '';
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) if (code.get(x, y)) dark += `M${x} ${y}h1v1h-1z`;
  }
  return html`<svg
    class="qr"
    role="img"
    aria-label=${label}
    data-testid="qr"
    viewBox="${-QUIET} ${-QUIET} ${side} ${side}"
    shape-rendering="crispEdges"
  >
    ${svg`<rect x=${-QUIET} y=${-QUIET} width=${side} height=${side} fill="#fff" /><path d=${dark} fill="#000" />`}
  </svg>`;
}
