// The protocol of `contestant/`, for contestants in JavaScript. A contestant has `name`, `version`, `configs` (each with its largest backlog, or null),
// `bulk`, `queues` and `open(setup)`, which answers a system with `enqueue`, `enqueueBulk`, `start`, `stop` and `left`.

import { parseArgs } from 'node:util';
import { Handler } from './handler.js';
import { workloads } from './workloads.js';

const STRINGS = ['backend', 'url', 'config', 'workload'];
const NUMBERS = {
  jobs: 1_000, first: 0, concurrency: 100, seconds: 10, 'wait-ms': 0, rate: 1_000, queues: 1, 'stop-at': undefined, clients: 1,
  workers: 1,
};

function read() {
  const options = Object.fromEntries([...STRINGS, ...Object.keys(NUMBERS)].map((name) => [name, { type: 'string' }]));
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const run = { config: 'default', ...values };
  for (const [name, other] of Object.entries(NUMBERS)) run[name] = name in values ? Number(values[name]) : other;
  return { command: positionals[0], run };
}

// Tells the bench program where in the workload this is, and waits until it has read what it wants to know.
function mark(place) {
  return new Promise((resolve) => {
    const { stdin } = process;
    const done = () => {
      stdin.off('data', done).off('end', done).pause();
      resolve();
    };
    // At the end of the input nobody answers: it was started by hand.
    if (stdin.readableEnded) return resolve();
    stdin.on('data', done).on('end', done).resume();
    process.stdout.write(`${place}\n`);
  });
}

async function answer(contestant) {
  const { command, run } = read();
  const { name: system, version, configs, bulk, queues } = contestant;
  if (command === 'describe') return { system, version, configs: Object.entries(configs), bulk, queues };
  if (!(run.config in configs)) throw new Error(`${system} has no configuration ${run.config}`);
  const work = workloads[run.workload];
  if (!work) throw new Error(`there is no workload ${run.workload}`);
  const setup = { url: run.url, config: run.config, queues: Math.max(run.queues, 1) };
  return work({ contestant, setup, run, mark, handler: (count, warm) => new Handler(run['wait-ms'], run.first, count, warm) });
}

export async function main(contestant) {
  try {
    const line = JSON.stringify(await answer(contestant));
    process.stdout.write(`${line}\n`);
    // What a contestant left behind doesn't hold up the end.
    process.exit(0);
  } catch (error) {
    console.error(error);
    // The bench program shows the last line.
    console.error(String(error));
    process.exit(1);
  }
}
