// The workloads, as `contestant/src/workload/` has them.

import { micros, payload, sleep, within } from './handler.js';

const BULK = 1_000;
// How long jobs are enqueued before the time begins, while connections open and the code is compiled, in milliseconds; jobs whose latencies aren't kept.
const WARM = 1_000;
const WARM_LATENCIES = 20;
// Jobs that are enqueued at the same time before those at a pace, how often, and of those at a pace the ones whose latencies aren't kept.
const [BURST, BURSTS, WARM_SHARE] = [64, 4, 0.2];
// How often it is looked whether anything moves, after how long of nothing that is told, and how long between two questions to the store; all in milliseconds.
const [LOOK, STILL, ASK] = [250, 3_000, 2];
// The time between two jobs.
const GAP = 1;
// How long a job is waited for.
const PATIENCE = 5_000;
// The steady state. Something must move in the last of the parts.
const [PRODUCERS, BACKLOG, PARTS, MOST] = [8, 10_000, 5, 300_000];
// How long it goes on before it counts, of the time, and at least.
const [WARM_PART, WARM_LEAST] = [10, 500];
// How long idle workers get to start, in milliseconds: their polls come more rarely until then, and a session of Postgres tells what it did at the
// start up to 10 s after that. In a trial it is that part of its time.
const [SETTLE, TRIAL, TRIAL_SETTLE] = [31_000, 1_000, 10];

const payloads = (from, to) => Array.from({ length: to - from }, (_, n) => payload(from + n));
const since = (begun) => performance.now() - begun;
const together = (count, task) => Promise.all(Array.from({ length: count }, task));

async function fill({ contestant, setup, run }) {
  const [system, end, begun] = [await contestant.open(setup), run.first + run.jobs, performance.now()];
  let from = run.first;
  while (from < end && since(begun) < run.seconds * 1e3) {
    const to = Math.min(from + BULK, end);
    await system.enqueueBulk(payloads(from, to));
    from = to;
  }
  return { jobs: from - run.first };
}

// The rate of `jobs`, and how many of `all` the store doesn't have.
const enqueued = async (system, jobs, all, took) =>
  ({ rate: (jobs / took) * 1e3, jobs, lost: Math.max(all - (await system.left()), 0) });

async function singles({ contestant, setup, run, mark }) {
  const system = await contestant.open(setup);
  let next = run.first;
  const spread = (end, limit, begun) => together(Math.max(run.concurrency, 1), async () => {
    while (next < end && since(begun) < limit) await system.enqueue(payload(next++));
  });
  await spread(Infinity, WARM, performance.now());
  const warm = next;
  await mark('begin');
  const begun = performance.now();
  await spread(warm + run.jobs, run.seconds * 1e3, begun);
  const took = since(begun);
  await mark('end');
  return enqueued(system, next - warm, next - run.first, took);
}

async function bulks({ contestant, setup, run, mark }) {
  const system = await contestant.open(setup);
  let next = run.first;
  const enqueue = async (end, limit, begun) => {
    for (; next < end && since(begun) < limit; next += BULK) await system.enqueueBulk(payloads(next, next + BULK));
  };
  await enqueue(Infinity, WARM, performance.now());
  const warm = next;
  await mark('begin');
  const begun = performance.now();
  await enqueue(warm + run.jobs, run.seconds * 1e3, begun);
  const took = since(begun);
  await mark('end');
  return enqueued(system, next - warm, next - run.first, took);
}

// Waits until so many jobs ran, nothing moves and `empty` says that nothing is left, or the time is up. Answers whether something moved for the last STILL.
async function watch(handler, jobs, begun, limit, empty) {
  let [count, moved] = [0, performance.now()];
  for (;;) {
    if (await within(Math.min(limit - since(begun), LOOK), handler.until(jobs))) return true;
    if (handler.distinct !== count) [count, moved] = [handler.distinct, performance.now()];
    else if (await empty()) return true;
    if (since(begun) >= limit) return since(moved) < STILL;
  }
}

async function drain({ contestant, setup, run, mark, handler: make }) {
  const [system, handler] = [await contestant.open(setup), make(run.jobs, Infinity)];
  await mark('begin');
  const [begun, limit] = [performance.now(), run.seconds * 1e3];
  const worker = await system.start(handler, run.concurrency);
  const part = run['stop-at'];
  const moves = await watch(handler, part ?? run.jobs, begun, limit, async () => part === undefined && (await system.left()) === 0);
  let [took, left] = [since(begun), 0];
  while (part === undefined) {
    // The answer is of the time of the question, and some take long to count.
    took = since(begun);
    left = await system.left();
    if (left === 0 || took >= limit) break;
    await sleep(ASK);
  }
  const ran = handler.distinct;
  const done = part === undefined ? Math.max(run.jobs - left, 0) : Math.min(ran, part);
  await mark('end');
  await system.stop(worker);
  return {
    rate: (done / took) * 1e3,
    jobs: part === undefined ? done : ran,
    lost: part === undefined && left === 0 ? Math.max(run.jobs - ran, 0) : 0,
    unfinished: part === undefined ? left : Math.max(part - ran, 0),
    hung: !moves,
    repeated: handler.repeated,
  };
}

// What ran, and how many of the jobs that were sent didn't: the latencies of the others alone would look too good.
function latencies(handler, sent) {
  const figures = handler.figures();
  const unfinished = Math.max(sent - figures.jobs, 0);
  return { ...figures, unfinished, hung: unfinished > 0 };
}

async function oneByOne({ contestant, setup, run, mark, handler: make }) {
  const [system, count] = [await contestant.open(setup), WARM_LATENCIES + run.jobs];
  const handler = make(count, run.first + WARM_LATENCIES);
  const worker = await system.start(handler, run.concurrency);
  await mark('begin');
  const begun = performance.now();
  let sent = 0;
  while (sent < count && (since(begun) < run.seconds * 1e3 || sent <= WARM_LATENCIES)) {
    await sleep(GAP);
    await system.enqueue(payload(run.first + sent));
    sent += 1;
    if (!(await within(PATIENCE, handler.until(sent)))) break;
  }
  await mark('end');
  const figures = latencies(handler, sent);
  await system.stop(worker);
  return figures;
}

// Jobs come at a pace, whether those before them are enqueued or not; what the enqueue waits counts.
async function atAPace({ contestant, setup, run, mark, handler: make }) {
  const [system, paced] = [await contestant.open(setup), Math.floor(run.rate * run.seconds)];
  const handler = make(BURST * BURSTS + paced, Infinity);
  const worker = await system.start(handler, run.concurrency);
  let before = 0;
  while (before < BURST * BURSTS) {
    await together(BURST, (_, n) => system.enqueue(payload(run.first + before + n)));
    before += BURST;
    // Who looks more seldom begins as it is.
    if (!(await within(PATIENCE, handler.until(before)))) break;
  }
  handler.warmUntil(run.first + before + Math.floor(paced * WARM_SHARE));
  const count = before + paced;
  await mark('begin');
  const [begun, begunAt, enqueues] = [performance.now(), micros(), []];
  let [sent, fault] = [before, null];
  while (sent < count) {
    const due = Math.min(before + Math.floor((since(begun) / 1e3) * run.rate), count);
    for (; sent < due; sent += 1) {
      const job = payload(run.first + sent, begunAt + Math.floor(((sent - before) / run.rate) * 1e6));
      enqueues.push(system.enqueue(job).catch((error) => (fault = error)));
    }
    if (fault) throw fault;
    await sleep(1);
  }
  await within(PATIENCE, Promise.all(enqueues).then(() => handler.until(count)));
  if (fault) throw fault;
  await mark('end');
  const figures = { rate: run.rate, ...latencies(handler, sent) };
  await system.stop(worker);
  return figures;
}

// The bench program runs `pace` in another process between the two marks.
async function serve({ contestant, setup, run, mark, handler: make }) {
  const [system, count] = [await contestant.open(setup), WARM_LATENCIES + run.jobs];
  const handler = make(count, run.first + WARM_LATENCIES);
  const worker = await system.start(handler, run.concurrency);
  await mark('begin');
  // What is missing after that never comes.
  await within(Math.max(run.seconds * 1e3, PATIENCE), handler.until(count));
  await mark('end');
  const figures = latencies(handler, count);
  await system.stop(worker);
  return figures;
}

async function pace({ contestant, setup, run }) {
  const [system, jobs] = [await contestant.open(setup), WARM_LATENCIES + run.jobs];
  for (let number = run.first; number < run.first + jobs; number += 1) {
    await sleep(GAP);
    await system.enqueue(payload(number));
  }
  return { jobs };
}

async function steady({ contestant, setup, run, mark, handler: make }) {
  const time = run.seconds * 1e3;
  const warm = time < TRIAL ? time / WARM_PART : Math.max(WARM_LEAST, time / WARM_PART);
  const [system, most] = [await contestant.open(setup), Math.floor(((time + warm) / 1e3) * MOST)];
  const handler = make(most, Infinity);
  const worker = await system.start(handler, run.concurrency);
  let [sent, stop] = [0, false];
  const produced = together(PRODUCERS, async () => {
    while (!stop) {
      if (sent > handler.distinct + BACKLOG) {
        await sleep(1);
        continue;
      }
      if (sent >= most) throw new Error('more jobs than there are numbers for');
      await system.enqueue(payload(run.first + sent++));
    }
  });
  // A failure is told at the end.
  produced.catch(() => {});
  await sleep(warm);
  await mark('begin');
  handler.warmUntil(run.first + sent);
  const [begun, earlier, last] = [performance.now(), handler.distinct, time / PARTS];
  await sleep(time - last);
  const before = handler.distinct;
  await sleep(last);
  // What runs earlier or later doesn't count, as what it uses doesn't.
  const figures = handler.figures();
  const jobs = figures.jobs - earlier;
  const rate = (jobs / since(begun)) * 1e3;
  // Nothing moves, though there is something to be done.
  const hung = handler.distinct === before && sent > before;
  await mark('end');
  stop = true;
  await produced;
  const all = await within(PATIENCE, handler.until(sent));
  // In this order: a job that ends in between counts as neither.
  const left = all ? 0 : await system.left();
  const missing = Math.max(sent - handler.distinct, 0);
  await system.stop(worker);
  const faults = { lost: Math.max(missing - left, 0), unfinished: Math.min(missing, left), repeated: handler.repeated };
  return { ...figures, jobs, rate, hung, ...faults };
}

// Clients of their own, with workers on each, as if they were processes.
async function idle({ contestant, setup, run, mark, handler: make }) {
  const [handler, started] = [make(0, 0), []];
  for (let client = 0; client < run.clients; client += 1) {
    const system = await contestant.open(setup);
    for (let n = 0; n < run.workers; n += 1) started.push([system, await system.start(handler, run.concurrency)]);
  }
  // The start is not a part of it.
  const time = run.seconds * 1e3;
  await sleep(time < TRIAL ? time / TRIAL_SETTLE : SETTLE);
  await mark('begin');
  await sleep(time);
  await mark('end');
  for (const [system, worker] of started) await system.stop(worker);
  return {};
}

export const workloads =
  { fill, enqueue: singles, bulk: bulks, drain, latency: oneByOne, load: atAPace, serve, pace, steady, idle };
