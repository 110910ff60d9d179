// BullMQ, on Redis.

import { Queue, Worker } from 'bullmq';
import { main } from './protocol.js';

const queueName = (number) => `queue-${number}`;
// What isn't finished, as BullMQ counts it.
const OPEN = ['wait', 'active', 'delayed', 'prioritized', 'paused', 'waiting-children'];

class BullMQ {
  constructor({ url, config, queues }) {
    this.connection = { url };
    // When tuned, finished jobs are deleted: it gives up the history.
    const defaultJobOptions = config === 'tuned' ? { removeOnComplete: true } : {};
    const options = { connection: this.connection, defaultJobOptions };
    this.queues = Array.from({ length: queues }, (_, number) => new Queue(queueName(number), options));
  }

  async enqueue(payload) {
    await this.queues[payload.number % this.queues.length].add('noop', payload);
  }

  async enqueueBulk(payloads) {
    const jobs = this.queues.map(() => []);
    for (const data of payloads) jobs[data.number % jobs.length].push({ name: 'noop', data });
    await Promise.all(jobs.map((some, number) => some.length > 0 && this.queues[number].addBulk(some)));
  }

  async start(handler, concurrency) {
    const options = { connection: this.connection, concurrency };
    const workers = this.queues.map((queue) => new Worker(queue.name, (job) => handler.run(job.data), options));
    for (const worker of workers) worker.on('error', (error) => console.error(String(error)));
    await Promise.all(workers.map((worker) => worker.waitUntilReady()));
    return workers;
  }

  async stop(workers) {
    await Promise.all(workers.map((worker) => worker.close()));
  }

  async left() {
    const counts = await Promise.all(this.queues.map((queue) => queue.getJobCounts(...OPEN)));
    return counts.flatMap(Object.values).reduce((sum, count) => sum + count, 0);
  }
}

main({
  name: 'bullmq',
  version: '6.7.0',
  configs: { default: null, tuned: null },
  bulk: true,
  queues: true,
  open: async (setup) => new BullMQ(setup),
});
