import { OfaError, describe } from "./errors.js";

/** More gain little: what limits a step is the memory, which all share. */
const MOST_UNASKED = 4;
const MOST = 64;
/** What WebAssembly addresses, in pages, as the wasm files that share their memory ask for it. */
const PAGES = 1 << 16;

/** What a member of the crew is given. */
export interface Berth {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** The end of its stack. */
  stack: number;
}

/** What a build that shares its memory exports; see `crew.rs` of the crate. */
export interface CrewExports {
  memory: WebAssembly.Memory;
  crew_stack(): number;
  crew_threads(): number;
  crew_end(): void;
}

/** How many threads were asked for, if it can be meant. */
export function checked(threads: number | undefined): number | undefined {
  if (threads === undefined || (Number.isInteger(threads) && threads > 0 && threads <= MOST)) return threads;
  throw new OfaError("option", `threads: expected a whole number from 1 to ${MOST}, found ${describe(threads)}`);
}

/** How many threads the CPU path takes: one, unless the page may share memory. */
export function threadsHere(wanted: number | undefined): number {
  if (wanted === 1 || !globalThis.crossOriginIsolated || !canShareMemory()) return 1;
  return wanted ?? Math.min(MOST_UNASKED, navigator.hardwareConcurrency);
}

/** Memory that is shared has its place in the address space reserved, of which there may be too little. */
function canShareMemory(): boolean {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: PAGES, shared: true }).buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}

/** Workers that take parts of a module's work. Nothing waits for one that comes late, or never. */
export class Crew {
  private asked = 1;

  constructor(private readonly module: WebAssembly.Module, private readonly exports: CrewExports) {}

  /** How many threads there are by now, with the one that has the model. */
  get threads(): number {
    return this.exports.crew_threads();
  }

  /** Has as many come, if they are not there. */
  gather(threads: number): void {
    const { module, exports } = this;
    for (; this.asked < threads; this.asked++) {
      let worker;
      try {
        worker = new Worker(new URL("ofa-web/member.js", import.meta.url), { type: "module", name: "ofa-web-member" });
      } catch (error) {
        // Not where scripts are another origin's. The model works without.
        console.warn(`ofa-web: no more threads than ${this.asked}: ${OfaError.from(error).message}`);
        return;
      }
      worker.onerror = (event) => {
        event.preventDefault();
        console.warn(`ofa-web: a thread stopped: ${event.message || "its script, ofa-web/member.js, was not found"}`);
      };
      worker.postMessage({ module, memory: exports.memory, stack: exports.crew_stack() } satisfies Berth);
    }
  }

  /** Lets them go when they are done with what they are at. */
  end(): void {
    this.exports.crew_end();
  }
}
