// Serves the built page with the headers that a real host would send.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';
import { pipeline } from 'node:stream';

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
};

/** What every answer carries; www/security-headers.json adds the page's own policy and may be stricter. */
const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Serves `dir` on `port` of this machine. */
export async function servePage({ port, dir, headers: file }) {
  const own = JSON.parse(await readFile(file, 'utf8'));
  const headers = { ...HEADERS };
  for (const [name, value] of Object.entries(own)) headers[name.toLowerCase()] = value;

  const answer = async (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return refuse(response, 405);
    }
    const path = localPath(dir, request.url);
    const info = path && (await stat(path).catch(() => undefined));
    if (!info?.isFile()) return refuse(response, 404);
    response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
    response.setHeader('content-length', info.size);
    // Vite puts a hash of the contents into the names below assets/.
    const fixed = request.url.startsWith('/assets/');
    response.setHeader('cache-control', fixed ? 'public, max-age=31536000, immutable' : 'no-cache');
    if (request.method === 'HEAD') return response.end();
    pipeline(createReadStream(path), response, () => {});
  };

  // `localhost` is 127.0.0.1 to some and ::1 to others.
  await listen(answer, port, '127.0.0.1');
  await listen(answer, port, '::1').catch(() => {});
}

function listen(answer, port, host) {
  const server = createServer(answer);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, resolve);
  });
}

/** The file that `url` means, or nothing if it points outside `dir`. */
function localPath(dir, url) {
  let name;
  try {
    name = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  } catch {
    return undefined;
  }
  if (name.endsWith('/')) name += 'index.html';
  const path = normalize(join(dir, name));
  return path.startsWith(dir + sep) && !path.includes('\0') ? path : undefined;
}

function refuse(response, status) {
  response.statusCode = status;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(status === 404 ? 'There is nothing here.\n' : 'Only GET and HEAD.\n');
}
