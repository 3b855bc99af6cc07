// What the storage of a safe on this machine costs by itself: a worker that, for a request, writes a new object twice, sets its alarm, and puts the
// body into KV in between, as a safe does for a deposit, and nothing else. It has a workerd of its own, which `cargo xtask bench safe` loads beside the safe's.
//
// Usage: node tests/bench/storage.mjs PORT DIR. It ends when its input does.
import { Log, LogLevel, Miniflare } from 'miniflare';

const [port, dir] = process.argv.slice(2);
const script = `import { DurableObject } from 'cloudflare:workers';

export class Row extends DurableObject {
  async write(bytes) {
    const { sql } = this.ctx.storage;
    sql.exec('CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, bytes BLOB)');
    sql.exec('INSERT OR REPLACE INTO row VALUES (0, ?)', bytes);
    await this.ctx.storage.setAlarm(Date.now() + 86_400_000);
  }
  alarm() {}
}

export default {
  async fetch(request, { BLOBS, ROWS }) {
    const id = crypto.randomUUID();
    const row = ROWS.get(ROWS.idFromName(id));
    await row.write(new Uint8Array(1024));
    await BLOBS.put(id, await request.arrayBuffer());
    await row.write(new Uint8Array(2048));
    return new Response(null, { status: 201 });
  },
};`;
const miniflare = new Miniflare({
  log: new Log(LogLevel.WARN),
  cf: false,
  telemetry: { enabled: false },
  compatibilityDate: '2026-04-20',
  modules: true,
  script,
  unsafeDirectSockets: [{ host: '127.0.0.1', port: Number(port) }],
  kvNamespaces: { BLOBS: 'blobs' },
  kvPersist: `${dir}/kv`,
  durableObjects: { ROWS: { className: 'Row', useSQLite: true } },
  durableObjectsPersist: `${dir}/objects`,
});
await miniflare.ready;
console.log('ready');
process.stdin.resume().on('end', async () => {
  await miniflare.dispose();
  process.exit(0);
});
