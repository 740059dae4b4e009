import { unlessAborted } from "./errors.js";

/** Work that several callers wait for at once. Each hears of its progress, and it ends when none waits any more. */
export class Shared<P> {
  private readonly waiting = new Set<(progress: P) => void>();
  private readonly controller = new AbortController();
  private readonly done: Promise<void>;

  constructor(work: (onProgress: (progress: P) => void, signal: AbortSignal) => Promise<void>) {
    const tell = (progress: P) => this.waiting.forEach((onProgress) => onProgress(progress));
    this.done = work(tell, this.controller.signal).finally(() => this.end());
  }

  /** Whether there is nothing to wait for: it is done, has failed or was given up. */
  get over(): boolean {
    return this.controller.signal.aborted;
  }

  async wait(onProgress: (progress: P) => void, signal: AbortSignal): Promise<void> {
    this.waiting.add(onProgress);
    try {
      await unlessAborted(this.done, signal);
    } finally {
      this.waiting.delete(onProgress);
      if (this.waiting.size === 0) this.end();
    }
  }

  end(): void {
    this.controller.abort();
  }
}
