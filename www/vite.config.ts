import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Writes the policy of `security-headers.json` into the built page too, so that it holds on hosts that send no headers.
 * Only on build: the development server needs inline styles for its live reload.
 */
function policyInPage(): Plugin {
  return {
    name: 'strongroom-policy',
    apply: 'build',
    transformIndexHtml() {
      const headers = JSON.parse(readFileSync(here('security-headers.json'), 'utf8'));
      // `frame-ancestors` has an effect in a header only; in a <meta> browsers warn about it.
      const content = String(headers['Content-Security-Policy']).replace(/frame-ancestors [^;]*;\s*/, '');
      return [
        {
          tag: 'meta',
          attrs: { 'http-equiv': 'Content-Security-Policy', content },
          injectTo: 'head-prepend',
        },
      ];
    },
  };
}

export default defineConfig({
  root: here('.'),
  base: './',
  plugins: [policyInPage()],
  resolve: { alias: { 'wallet-wasm': here('src/engine/pkg/wallet_wasm.js') } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    outDir: here('dist'),
    emptyOutDir: true,
    // Every asset stays a file: the policy admits no data: URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
