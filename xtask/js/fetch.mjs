// One HTTP request for `cargo xtask`, by node's own client, which knows TLS. In: one JSON line on the standard input; out: one on the standard
// output. Bodies are hex.
import { text } from 'node:stream/consumers';

const { method, url, headers, body } = JSON.parse(await text(process.stdin));
const answer = await fetch(url, {
  method,
  headers,
  body: body === undefined ? undefined : Buffer.from(body, 'hex'),
  // A safe answers itself; who sends us elsewhere is not the one that was asked.
  redirect: 'error',
  signal: AbortSignal.timeout(30_000),
})
  .then(async (answer) => {
    const bytes = Buffer.from(await answer.arrayBuffer());
    return { status: answer.status, body: bytes.toString('hex') };
  })
  .catch((error) => ({ error: error.cause?.message ?? error.message }));
console.log(JSON.stringify(answer));
