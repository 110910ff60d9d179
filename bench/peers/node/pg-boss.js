// pg-boss, on Postgres.

import { PgBoss } from 'pg-boss';
import { main } from './protocol.js';

const queueName = (number) => `queue-${number}`;
// Loops that fetch, when tuned. Each runs a batch, and all of it is finished with its last job.
const LOOPS = 4;
// Jobs that a loop fetches at the same time, at least: from 2 on it fetches again at once where a batch was full.
const BATCH = 10;
// Connections when tuned, instead of 10.
const CONNECTIONS = 64;
// How often they look without being woken; less than half a second isn't allowed.
const POLLS = { pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 0.5 };
const OPEN = "SELECT count(*)::int AS jobs FROM pgboss.job WHERE state < 'completed' AND name LIKE 'queue-%'";

// Runs a batch, so many at the same time.
async function runAll(handler, jobs, atOnce) {
  let next = 0;
  const lane = async () => {
    while (next < jobs.length) await handler.run(jobs[next++].data);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

class Boss {
  constructor(setup, boss) {
    Object.assign(this, { boss, names: Array.from({ length: setup.queues }, (_, number) => queueName(number)), tuned: setup.config === 'tuned' });
  }

  static async open(setup) {
    // When tuned, an enqueue wakes workers: it gives up speed of enqueues that come together, as each notifies.
    const tuned = setup.config === 'tuned' ? { useListenNotify: true, max: CONNECTIONS } : {};
    const boss = new PgBoss({ connectionString: setup.url, ...tuned });
    boss.on('error', (error) => console.error(String(error)));
    await boss.start();
    const system = new Boss(setup, boss);
    for (const name of system.names) await boss.createQueue(name, system.tuned ? { notify: true } : {});
    return system;
  }

  async enqueue(payload) {
    await this.boss.send(queueName(payload.number % this.names.length), payload);
  }

  async enqueueBulk(payloads) {
    const jobs = this.names.map(() => []);
    for (const data of payloads) jobs[data.number % jobs.length].push({ data });
    await Promise.all(jobs.map((some, number) => some.length > 0 && this.boss.insert(this.names[number], some)));
  }

  async start(handler, concurrency) {
    const loops = Math.min(LOOPS, concurrency);
    const each = Math.floor(concurrency / loops);
    const tuned = { localConcurrency: loops, batchSize: Math.max(each, BATCH), burstWhenBatchFull: true, ...POLLS };
    const options = this.tuned ? tuned : { localConcurrency: concurrency };
    const work = (name) => this.boss.work(name, options, (jobs) => runAll(handler, jobs, this.tuned ? each : 1));
    return Promise.all(this.names.map(async (name) => [name, await work(name)]));
  }

  async stop(workers) {
    await Promise.all(workers.map(([name, id]) => this.boss.offWork(name, { id })));
  }

  async left() {
    const { rows } = await this.boss.getDb().executeSql(OPEN);
    return rows[0].jobs;
  }
}

main({
  name: 'pg-boss',
  version: '12.38.0',
  configs: { default: null, tuned: null },
  bulk: true,
  queues: true,
  open: Boss.open,
});
