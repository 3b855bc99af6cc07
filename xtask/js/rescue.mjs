// Makes recover.html: one file with everything in it, for a disk or a USB stick. Same sources, same bytes.
//
// The page's script stands in the file as it is; the worker's script and the WebAssembly module are compressed (RFC 1951) and written in base64 into
// that script. The policy names the one script and the one style sheet by their hashes.
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';
import { build } from 'esbuild';

const WWW = fileURLToPath(new URL('../../www', import.meta.url));
const PKG = join(WWW, 'src/engine/pkg');
const RESCUE = join(WWW, 'src/rescue');

const pack = (bytes) => deflateRawSync(bytes, { level: 9 }).toString('base64');
const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Names that the sources use and that stand for something else here. */
function standIns(texts) {
  return {
    name: 'stand-ins',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^wallet-wasm$/ }, () => ({ path: join(PKG, 'wallet_wasm.js') }));
      onResolve({ filter: /\/engine\/session\.ts$/ }, () => ({ path: join(RESCUE, 'session.ts') }));
      onResolve({ filter: /^rescue:/ }, ({ path }) => ({ path, namespace: 'inlined' }));
      onLoad({ filter: /.*/, namespace: 'inlined' }, ({ path }) => ({
        contents: texts[path],
        loader: 'text',
      }));
    },
  };
}

async function bundle(entry, format, texts = {}) {
  const { outputFiles, warnings } = await build({
    entryPoints: [join(RESCUE, entry)],
    bundle: true,
    minify: true,
    write: false,
    format,
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'warning',
    tsconfig: join(WWW, 'tsconfig.json'),
    // The module is handed over; nothing lies beside this script.
    define: { 'import.meta.url': '""' },
    plugins: [standIns(texts)],
  });
  if (warnings.length > 0) throw new Error(`${entry} has warnings`);
  return outputFiles[0].text;
}

const wasm = await readFile(join(PKG, 'wallet_wasm_bg.wasm'));
const worker = await bundle('worker.ts', 'iife');
// It stands between tags, where these would end it or change how it is read; escaped it is the same script.
const quoted = (script) => script.replace(/<(?=\/script|script|!--)/gi, '\\x3c');
const script = quoted(
  await bundle('main.ts', 'esm', { 'rescue:worker': pack(worker), 'rescue:wasm': pack(wasm) }),
);
const style = await readFile(join(WWW, 'src/shared/tokens.css'), 'utf8');
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'wasm-unsafe-eval'`,
  'worker-src blob:',
  `style-src ${hash(style)}`,
  'img-src blob:',
  'connect-src https: http://localhost:* http://127.0.0.1:*',
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types lit-html strongroom-worker',
].join('; ');

const empty = ['content=""', '<style></style>', '<script type="module"></script>'];
const filled = [`content="${policy}"`, `<style>${style}</style>`, `<script type="module">${script}</script>`];
let page = await readFile(join(RESCUE, 'page.html'), 'utf8');
for (const [at, place] of empty.entries()) {
  if (page.split(place).length !== 2) throw new Error(`page.html has to have one ${place}`);
  page = page.replace(place, () => filled[at]);
}
await writeFile(join(WWW, 'dist/recover.html'), page);
