// graphile-worker of Node, on Postgres. What it calls a queue runs one job at a time, so that it has no workload of several.

import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { main } from './protocol.js';

// It tells of each job on the standard output, which is the protocol's.
const logger = new Logger(() => () => {});
// When tuned, jobs are claimed by so many and finished together. It gives up that other workers see what this one has claimed, and runs more jobs again
// after a crash.
const TUNED = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0, maxPoolSize: 20 };
// Connections that enqueue when tuned, instead of 10.
const UTILS = { maxPoolSize: 64 };

class Graphile {
  constructor(setup, utils) {
    Object.assign(this, { utils, options: { connectionString: setup.url, logger }, tuned: setup.config === 'tuned' });
  }

  static async open(setup) {
    const tuned = setup.config === 'tuned' ? UTILS : {};
    return new Graphile(setup, await makeWorkerUtils({ connectionString: setup.url, logger, ...tuned }));
  }

  async enqueue(payload) {
    await this.utils.addJob('noop', payload);
  }

  async enqueueBulk(payloads) {
    await this.utils.addJobs(payloads.map((payload) => ({ identifier: 'noop', payload })));
  }

  start(handler, concurrency) {
    const taskList = { noop: (payload) => handler.run(payload) };
    const preset = { worker: this.tuned ? TUNED : {} };
    return run({ ...this.options, concurrency, taskList, preset, parsedCronItems: [], noHandleSignals: true });
  }

  async stop(runner) {
    await runner.stop();
  }

  async left() {
    // Finished jobs are deleted.
    const ask = 'SELECT count(*)::int AS jobs FROM graphile_worker._private_jobs';
    const { rows } = await this.utils.withPgClient((client) => client.query(ask));
    return rows[0].jobs;
  }
}

main({
  name: 'graphile-worker',
  version: '0.18.0',
  configs: { default: null, tuned: null },
  bulk: true,
  queues: false,
  open: Graphile.open,
});
