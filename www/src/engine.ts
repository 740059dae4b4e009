import { ChunkCache, type CacheMode } from "./cache.js";
import { drawCodes, fetchCodes, preview, type Drawn } from "./codes.js";
import { countGpuCalls } from "./counters.js";
import { checked, type Crew } from "./crew.js";
import { fetchManifest, fetchShards, fetchSmallFiles, requireHashing, type DownloadOptions } from "./download.js";
import { Crash, OfaError, aborted, disposed, throwIfAborted, unlessAborted } from "./errors.js";
import type { Rgba } from "./image.js";
import { probe } from "./probe.js";
import { openSession } from "./session.js";
import { Shared } from "./shared.js";
import { FileSource, UrlSource, type FileAt, type Source } from "./source.js";
import type {
  AnswerOptions, Attention, Counters, DeviceChoice, LoadTimings, ModelInfo, Progress, StepEvent, TaskInputs,
} from "./types.js";
import { abandonModule, isTrap, type WasmCodes, type WasmSession } from "./wasm.js";

/** What is loaded and how; it crosses the worker boundary. */
export interface LoadRequest {
  url: string | undefined;
  files: FileAt[] | undefined;
  device: DeviceChoice;
  threads: number | undefined;
  cache: CacheMode;
  counters: boolean;
}

/** The model, whichever side of the worker boundary it is on. */
export interface Engine {
  load(request: LoadRequest, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<ModelInfo>;
  encodeImage(task: string, image: Rgba, options: AnswerOptions, signal: AbortSignal): Promise<number>;
  freeImage(handle: number): Promise<void>;
  run(
    task: string,
    image: number | undefined,
    inputs: TaskInputs,
    options: AnswerOptions,
    onEvent: (event: StepEvent) => void,
    signal: AbortSignal,
  ): Promise<unknown>;
  runAll(
    task: string,
    image: number | undefined,
    inputs: TaskInputs[],
    options: AnswerOptions,
    signal: AbortSignal,
  ): Promise<unknown[]>;
  attention(
    task: string,
    image: number,
    inputs: TaskInputs,
    options: AnswerOptions,
    tokens: number[],
    signal: AbortSignal,
  ): Promise<Attention>;
  /** Does nothing if they are loaded. */
  loadCodes(onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<void>;
  draw(codes: number[], caption: string | undefined, signal: AbortSignal): Promise<Drawn | undefined>;
  info(): Promise<ModelInfo>;
  /** Resolves once its memory is free. */
  dispose(): Promise<void>;
}

/** Milliseconds after which steps let messages and painting in: half of what lies between two pictures of a screen. */
const LONGEST_MS = 8;

/** The model in this thread. */
export class LocalEngine implements Engine {
  private session: WasmSession | undefined;
  private crew: Crew | undefined;
  private bundle: { source: Source; cache: ChunkCache } | undefined;
  private codes: WasmCodes | undefined;
  private openingCodes: Shared<Progress> | undefined;
  private model: ModelInfo | undefined;
  private takeCounters: (() => Counters) | undefined;
  private last: Promise<unknown> = Promise.resolve();
  /** When the thread was last left to others between two steps. */
  private paused = 0;
  /** Why there is no model any more. */
  private ended: OfaError | undefined;

  async load(request: LoadRequest, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<ModelInfo> {
    requireHashing();
    const threads = checked(request.threads);
    const source = request.files ? new FileSource(request.files) : new UrlSource(request.url ?? "");
    const found = await probe(request.device);
    throwIfAborted(signal);
    const cache = await ChunkCache.open(request.files ? "none" : request.cache);
    const manifest = await fetchManifest(source, cache, signal);
    const total = manifest.totalBytes;
    onProgress({ phase: "compile", loaded: 0, total });
    const options = { source, cache, signal, onProgress };
    const lap = stopwatch();
    if (request.counters) this.takeCounters = countGpuCalls();
    const { session, device, crew } = await this.guard(() => openSession(request.device, found, threads, fetchSmallFiles(manifest, options), signal));
    this.crew = crew;
    const loading: LoadTimings = { compileMs: lap(), downloadMs: 0, uploadMs: 0, buildMs: 0 };
    try {
      // Once bytes are on their way. A crash ends the load at its next step; all else, calls of the model will say.
      let rehearsal: Promise<void> | undefined;
      const onDownload = (progress: Progress) => {
        onProgress(progress);
        rehearsal ??= this.guard(() => session.rehearse()).catch(() => undefined);
      };
      await fetchShards(manifest, { ...options, onProgress: onDownload }, async (file, bytes) => {
        loading.downloadMs += lap();
        await this.guard(() => session.addShard(file.name, bytes));
        loading.uploadMs += lap();
      });
      await rehearsal;
      loading.downloadMs += lap();
      onProgress({ phase: "verify", loaded: total, total });
      await this.guard(() => session.finish());
      loading.buildMs = lap();
      throwIfAborted(signal);
    } catch (error) {
      this.release(session);
      throw error;
    }
    this.session = session;
    this.bundle = { source, cache };
    const own = JSON.parse(session.info()) as {
      version: string; vocabSize: number; codeGrid: number; device: { name: string };
    };
    this.model = {
      version: own.version,
      device: { ...device, name: device.name || own.device.name },
      precision: manifest.precision,
      parameters: manifest.parameters,
      bytes: total,
      vocabSize: own.vocabSize,
      codeGrid: own.codeGrid,
      loading,
    };
    onProgress({ phase: "ready", loaded: total, total });
    return this.info();
  }

  encodeImage(task: string, image: Rgba, options: AnswerOptions, signal: AbortSignal): Promise<number> {
    return this.inTurn(signal, (session) =>
      session.encodeImage(task, image.data, image.width, image.height, json(options)));
  }

  freeImage(handle: number): Promise<void> {
    return this.inTurn(undefined, async (session) => session.freeImage(handle));
  }

  run(
    task: string,
    image: number | undefined,
    inputs: TaskInputs,
    options: AnswerOptions,
    onEvent: (event: StepEvent) => void,
    signal: AbortSignal,
  ): Promise<unknown> {
    return this.inTurn(signal, async (session) => {
      const codes = this.codes;
      const seen = codes && preview(this.model?.codeGrid ?? 1, (sequence) => drawCodes(session, codes, sequence, undefined));
      let failure: unknown;
      const each = async (json: string) => {
        try {
          const event = JSON.parse(json) as StepEvent;
          onEvent(event);
          const picture = await seen?.(event);
          if (picture) onEvent(picture);
          return await this.goesOn(signal);
        } catch (error) {
          // Whatever this throws, the wasm would take for a wish to stop.
          failure = error;
          return false;
        }
      };
      const answer = await session.run(task, image, json(inputs), json(options), each).catch((error: unknown) => {
        throw failure ?? error;
      });
      return JSON.parse(answer) as unknown;
    });
  }

  runAll(
    task: string,
    image: number | undefined,
    inputs: TaskInputs[],
    options: AnswerOptions,
    signal: AbortSignal,
  ): Promise<unknown[]> {
    return this.inTurn(signal, async (session) => {
      const answers = await session.runAll(task, image, json(inputs), json(options), () => this.goesOn(signal));
      return JSON.parse(answers) as unknown[];
    });
  }

  attention(
    task: string,
    image: number,
    inputs: TaskInputs,
    options: AnswerOptions,
    tokens: number[],
    signal: AbortSignal,
  ): Promise<Attention> {
    return this.inTurn(signal, async (session) => {
      const given = [json(inputs), json(options)] as const;
      return JSON.parse(await session.attention(task, image, ...given, Uint32Array.from(tokens))) as Attention;
    });
  }

  async loadCodes(onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<void> {
    const { bundle } = this;
    if (this.codes || !bundle) return;
    if (!this.openingCodes || this.openingCodes.over) {
      this.openingCodes = new Shared((onProgress, signal) => this.openCodes({ ...bundle, signal, onProgress }));
    }
    await this.openingCodes.wait(onProgress, signal);
  }

  draw(codes: number[], caption: string | undefined, signal: AbortSignal): Promise<Drawn | undefined> {
    return this.inTurn(signal, async (session) => {
      if (!this.codes) throw new OfaError("internal", "the image codes are not loaded");
      return drawCodes(session, this.codes, codes, caption);
    });
  }

  info(): Promise<ModelInfo> {
    if (!this.model) return Promise.reject(new OfaError("internal", "no model is loaded"));
    const { device } = this.model;
    const counters = this.takeCounters?.();
    return Promise.resolve({
      ...this.model,
      device: device.kind === "cpu" ? { ...device, threads: this.crew?.threads ?? 1 } : device,
      ...(counters && { counters }),
    });
  }

  /** Lets go of what would outlive the worker that this is in. */
  leave(): void {
    this.crew?.end();
  }

  dispose(): Promise<void> {
    return this.end(disposed());
  }

  /** Between two steps of a call. */
  private async goesOn(signal: AbortSignal): Promise<boolean> {
    if (performance.now() - this.paused >= LONGEST_MS) {
      // Lets the message in that may abort this, and the page paint.
      await macrotask();
      this.paused = performance.now();
    }
    return !signal.aborted && !this.ended;
  }

  private async openCodes(options: DownloadOptions): Promise<void> {
    // Questions are answered while they are on their way.
    const open = (config: string) => this.inTurn(options.signal, async (session) => session.openCodes(config));
    const codes = await this.guard(() => fetchCodes(open, options));
    // The model may be gone.
    if (this.session) this.codes = codes;
    else this.release(codes);
  }

  /** One call after the other: the model is one. */
  private inTurn<T>(signal: AbortSignal | undefined, work: (session: WasmSession) => Promise<T>): Promise<T> {
    const before = this.last;
    const turn = unlessAborted(before, signal).then(() => {
      const session = this.session;
      if (!session) throw this.ended ?? new OfaError("internal", "no model is loaded");
      return this.guard(() => work(session));
    }).catch((error: OfaError) => {
      // The wasm does not know why it was to stop.
      throw signal && error.code === "aborted" ? aborted(signal) : error;
    });
    // Who gives up waiting does not end what goes on.
    this.last = turn.then(() => before, () => before);
    return turn;
  }

  /** Errors of the model as `OfaError`; a trap or a lost GPU ends it. */
  private async guard<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.ended) throw this.ended;
    // A trap between two steps of a call settles no promise: only the realm's error event tells of it.
    let listen: (event: ErrorEvent) => void = () => undefined;
    const trapped = new Promise<never>((_, reject) => {
      listen = (event) => {
        if (!isTrap(event.error)) return;
        event.preventDefault();
        reject(event.error);
      };
    });
    globalThis.addEventListener("error", listen);
    try {
      return await Promise.race([work(), trapped]);
    } catch (error) {
      const failure = failureOf(error);
      if (failure instanceof Crash) {
        abandonModule();
        this.crew?.end();
        void this.end(failure);
      }
      throw this.ended ?? failure;
    } finally {
      globalThis.removeEventListener("error", listen);
    }
  }

  private async end(reason: OfaError): Promise<void> {
    this.ended ??= reason;
    this.openingCodes?.end();
    const parts = [this.codes, this.session];
    this.session = this.codes = undefined;
    await this.last;
    for (const part of parts) if (part) this.release(part);
  }

  private release(part: { free(): void }): void {
    // Threads of a module that trapped may hold what freeing waits for.
    if (this.crew && this.ended instanceof Crash) return;
    try {
      part.free();
    } catch {
      // A module that trapped cannot clean up; it goes as a whole.
    }
  }
}

function failureOf(error: unknown): OfaError {
  if (error instanceof WebAssembly.RuntimeError) {
    return new Crash("internal", `the model stopped: ${error.message}. It will be loaded again`, { cause: error });
  }
  const failure = OfaError.from(error);
  if (failure.code !== "device") return failure;
  return new Crash("device", failure.message.split("\nBacktrace")[0] as string, { cause: error });
}

/** What the caller gave, as the wasm takes it. */
function json(given: unknown): string {
  try {
    return JSON.stringify(given, plain);
  } catch (error) {
    throw new OfaError("option", `inputs and options must be plain values: ${OfaError.from(error).message}`, { cause: error });
  }
}

function plain(name: string, value: unknown): unknown {
  // Which JSON would leave out, or take for nothing.
  if (typeof value === "bigint" || typeof value === "function") throw new TypeError(`${name} is a ${typeof value}`);
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${name} is ${value}`);
  // Half of an emoji, where a text was cut, is no text for Rust.
  return typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
}

/** Milliseconds since the last call. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const lap = now - last;
    last = now;
    return lap;
  };
}

const waiting: (() => void)[] = [];
let knock: (() => void) | undefined;

function macrotask(): Promise<void> {
  // Not before it is needed: an open channel keeps Node, which may render pages with this, from ending.
  knock ??= openChannel();
  return new Promise((resolve) => {
    waiting.push(resolve);
    knock?.();
  });
}

function openChannel(): () => void {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => waiting.shift()?.();
  return () => port2.postMessage(null);
}
