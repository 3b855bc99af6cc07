// A safe that lies: an HTTP server at the safe's address that passes everything on and flips a bit in the middle of
// some answers.
import { once } from 'node:events';
import { createServer, request } from 'node:http';

/** The shortest envelope; offers, certificates and receipts are shorter. */
const SHORTEST_PIECE = 1024;

/** Every piece comes back with a wrong bit. */
export const ABOUT_PIECES = (path, length) => !path.endsWith('/confirm') && length >= SHORTEST_PIECE;
/** Every certificate has a wrong bit. */
export const ABOUT_CERTIFICATES = (path) => path.endsWith('/confirm');

/** Stands at the address `url`, speaks for the safe that listens on `port`, and lies about what `about` says. */
export async function startLiar(url, port, about) {
  const lies = [];
  const server = createServer((asked, answer) => {
    const { method, url: path, headers } = asked;
    const onward = request({ host: '127.0.0.1', port, method, path, headers }, async (told) => {
      const body = Buffer.concat(await told.toArray());
      // Who the safe is stays true: a wallet that is told another name does not get as far as the pieces.
      if (
        path.startsWith('/v1/') &&
        method !== 'PUT' &&
        told.statusCode === 200 &&
        about(path, body.length)
      ) {
        body[body.length >> 1] ^= 1;
        lies.push(`${method} ${path}`);
      }
      const kept = { ...told.headers, 'content-length': body.length };
      delete kept['transfer-encoding'];
      answer.writeHead(told.statusCode, kept);
      answer.end(body);
    });
    onward.on('error', () => answer.destroy());
    asked.pipe(onward);
  });
  server.listen({ host: '127.0.0.1', port: Number(new URL(url).port) });
  await once(server, 'listening');
  return {
    /** The requests that were answered with a wrong bit. */
    lies,
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
