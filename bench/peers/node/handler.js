// What runs jobs, and notes which ran.

const PADDING = 'x'.repeat(40);

// Microseconds since 1970.
export const micros = () => Math.round((performance.timeOrigin + performance.now()) * 1e3);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Whether something ends in so many milliseconds.
export function within(ms, work) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, Math.max(ms, 0), false);
    const ended = (end) => (value) => {
      clearTimeout(timer);
      end(value);
    };
    work.then(ended(() => resolve(true)), ended(reject));
  });
}

export const payload = (number, sent_at = micros()) => ({ number, sent_at, padding: PADDING });

export class Handler {
  #latencies = [];
  #target = Infinity;
  #reached = () => {};
  distinct = 0;
  repeated = 0;

  // Waits so long in each job. Jobs have numbers from `first`, and there are at most `count`. The latencies of those before `warm` aren't kept.
  constructor(wait, first, count, warm) {
    Object.assign(this, { wait, first, warm, seen: new Uint8Array(count) });
  }

  // Latencies are kept from this number on.
  warmUntil(number) {
    this.warm = number;
  }

  async run({ number, sent_at }) {
    if (number >= this.warm) this.#latencies.push(Math.max(micros() - sent_at, 0) / 1e3);
    if (this.wait > 0) await sleep(this.wait);
    // A job from outside of the run can't be told from a repeat.
    const place = number - this.first;
    if (this.seen[place] !== 0) {
      this.repeated += 1;
      return;
    }
    this.seen[place] = 1;
    this.distinct += 1;
    if (this.distinct >= this.#target) this.#reached();
  }

  // Waits until so many jobs ran. Only one may wait.
  until(count) {
    this.#target = count;
    return this.distinct >= count ? Promise.resolve() : new Promise((resolve) => (this.#reached = resolve));
  }

  // Figures with the latencies and the repeats.
  figures() {
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (share) => sorted[Math.floor(Math.max(sorted.length - 1, 0) * share)];
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999), jobs: this.distinct, repeated: this.repeated };
  }
}
