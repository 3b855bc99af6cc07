// A safe that lies: an HTTP server at the safe's address that passes everything on and flips a bit in the middle of
// some answers.
import { once } from 'node:events';
import { createServer, request } from 'node:http';

/** The shortest envelope; offers, certificates and receipts are shorter. */
const SHORTEST_PIECE = 1024;

/** Every piece comes back with a wrong bit. */
export const ABOUT_PIECES = (path, length) => !path.endsWith('/confirm') && length >= SHORTEST_PIECE;
/** Everything that an owner is shown or told has a wrong bit. */
export const ABOUT_OWNERS = (path) => path.startsWith('/v1/owners/');
/** Every certificate has a wrong bit. */
export const ABOUT_CERTIFICATES = (path) => path.endsWith('/confirm');

/**
 * Stands at the address `url` and never comes to an end: it says who the safe on `port` is, and to everything else it answers with bytes, as
 * many as are taken.
 */
export async function startBabbler(url, port) {
  const piece = Buffer.alloc(1 << 20);
  const sent = { bytes: 0 };
  const server = createServer((asked, answer) => {
    const { method, url: path, headers } = asked;
    if (!path.startsWith('/v1/') || method === 'OPTIONS') {
      const onward = request({ host: '127.0.0.1', port, method, path, headers }, (told) => {
        answer.writeHead(told.statusCode, told.headers);
        told.pipe(answer);
      });
      asked.pipe(onward);
      return;
    }
    asked.resume();
    answer.writeHead(200, {
      'access-control-allow-origin': '*',
      'content-type': 'application/octet-stream',
    });
    const go = () => {
      while (!answer.destroyed && answer.write(piece)) sent.bytes += piece.length;
      sent.bytes += piece.length;
    };
    answer.on('drain', go);
    go();
  });
  server.listen({ host: '127.0.0.1', port: Number(new URL(url).port) });
  await once(server, 'listening');
  return {
    /** How much was taken. */
    sent,
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

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
