import type { Drawn } from "./codes.js";
import type { Engine, LoadRequest } from "./engine.js";
import { Crash, OfaError, aborted, disposed } from "./errors.js";
import type { Rgba } from "./image.js";
import type { Calls, FromWorker, ToWorker } from "./protocol.js";
import type { AnswerOptions, Attention, ModelInfo, Progress, StepEvent, TaskInputs } from "./types.js";

interface Pending {
  resolve(value: unknown): void;
  reject(error: OfaError): void;
  onEvent: (event: never) => void;
}

const NOT_FOUND =
  "the worker could not be started: expected its script at ofa-web/worker.js beside the package's ofa.js. A bundler must copy " +
  'every file that the package names by new URL("…", import.meta.url); for Vite, set optimizeDeps: { exclude: ["ofa-web"] }';

/** How long a worker may take to leave, if it is in a kernel. */
const PATIENCE_MS = 100;

/** The model in a worker of its own. */
export class RemoteEngine implements Engine {
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private nextId = 0;
  private ended: OfaError | undefined;

  constructor() {
    this.worker = new Worker(new URL("ofa-web/worker.js", import.meta.url), { type: "module", name: "ofa-web-worker" });
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      // A script that was not found leaves no message.
      this.end(event.message ? new Crash("internal", `the worker stopped: ${event.message}`) : new Crash("fetch", NOT_FOUND));
    };
  }

  load(request: LoadRequest, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<ModelInfo> {
    return this.call<ModelInfo>("load", [request], onProgress, signal);
  }

  encodeImage(task: string, image: Rgba, options: AnswerOptions, signal: AbortSignal): Promise<number> {
    return this.call<number>("encodeImage", [task, image, options], undefined, signal, [image.data.buffer]);
  }

  freeImage(handle: number): Promise<void> {
    return this.call<void>("freeImage", [handle]);
  }

  run(
    task: string,
    image: number | undefined,
    inputs: TaskInputs,
    options: AnswerOptions,
    onEvent: (event: StepEvent) => void,
    signal: AbortSignal,
  ): Promise<unknown> {
    return this.call("run", [task, image, inputs, options], onEvent, signal);
  }

  runAll(
    task: string,
    image: number | undefined,
    inputs: TaskInputs[],
    options: AnswerOptions,
    signal: AbortSignal,
  ): Promise<unknown[]> {
    return this.call("runAll", [task, image, inputs, options], undefined, signal);
  }

  attention(
    task: string,
    image: number,
    inputs: TaskInputs,
    options: AnswerOptions,
    tokens: number[],
    signal: AbortSignal,
  ): Promise<Attention> {
    return this.call<Attention>("attention", [task, image, inputs, options, tokens], undefined, signal);
  }

  loadCodes(onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<void> {
    return this.call<void>("loadCodes", [], onProgress, signal);
  }

  draw(codes: number[], caption: string | undefined, signal: AbortSignal): Promise<Drawn | undefined> {
    return this.call<Drawn | undefined>("draw", [codes, caption], undefined, signal);
  }

  info(): Promise<ModelInfo> {
    return this.call<ModelInfo>("info", []);
  }

  async dispose(): Promise<void> {
    this.end(disposed());
  }

  private call<T>(
    method: keyof Calls,
    args: Calls[keyof Calls],
    onEvent: (event: never) => void = () => undefined,
    signal?: AbortSignal,
    transfer: Transferable[] = [],
  ): Promise<T> {
    if (this.ended) return Promise.reject(this.ended);
    if (signal?.aborted) return Promise.reject(aborted(signal));
    const id = this.nextId++;
    return new Promise<T>((resolve, reject) => {
      const abort = () => {
        this.worker.postMessage({ id, method: "abort" });
        // The worker may be deep in a kernel; the caller need not wait for it.
        settle(() => reject(aborted(signal as AbortSignal)));
        if (method === "encodeImage") this.freeUnwanted(id);
      };
      const settle = (end: () => void) => {
        signal?.removeEventListener("abort", abort);
        this.pending.delete(id);
        end();
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.pending.set(id, {
        resolve: (value) => settle(() => resolve(value as T)),
        reject: (error) => settle(() => reject(error)),
        onEvent,
      });
      try {
        this.worker.postMessage({ id, method, args }, transfer);
      } catch (error) {
        // Something that cannot cross to the worker: a function, or an object of a framework that watches it.
        settle(() => reject(new OfaError("option", `inputs and options must be plain values: ${OfaError.from(error).message}`, { cause: error })));
      }
    });
  }

  /** An image that was encoded although nobody waits for it any more must not stay. */
  private freeUnwanted(id: number): void {
    const done = () => this.pending.delete(id);
    const resolve = (handle: unknown) => {
      done();
      this.freeImage(handle as number).catch(() => undefined);
    };
    this.pending.set(id, { resolve, reject: done, onEvent: () => undefined });
  }

  private receive(data: FromWorker): void {
    if ("error" in data && data.crashed) return this.end(new Crash(data.error.code, data.error.message));
    const pending = this.pending.get(data.id);
    if (!pending) return;
    if ("event" in data) pending.onEvent(data.event as never);
    else if ("error" in data) pending.reject(new OfaError(data.error.code, data.error.message));
    else pending.resolve(data.result);
  }

  private end(reason: OfaError): void {
    this.ended ??= reason;
    if (globalThis.crossOriginIsolated) {
      // Browsers wait for threads that sleep, and keep their memory for seconds, unless these leave by themselves.
      this.worker.postMessage({ method: "leave" } satisfies ToWorker);
      setTimeout(() => this.worker.terminate(), PATIENCE_MS);
    } else {
      this.worker.terminate();
    }
    for (const pending of [...this.pending.values()]) pending.reject(reason);
  }
}
