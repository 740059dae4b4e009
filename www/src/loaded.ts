import { LocalEngine, type Engine, type LoadRequest } from "./engine.js";
import { OfaError } from "./errors.js";
import { RemoteEngine } from "./remote.js";
import type { ModelInfo, Progress } from "./types.js";

/** An engine with its model; after a crash, or when the GPU was lost, the model is loaded again before the next call. */
export class Loaded {
  private disposed = false;

  private constructor(
    /** Absent between a crash and the next call. */
    private engine: Promise<Engine> | undefined,
    private model: ModelInfo,
    private readonly request: LoadRequest,
    private readonly worker: boolean,
  ) {}

  static async load(
    request: LoadRequest,
    worker: boolean,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<Loaded> {
    const { engine, model } = await start(request, worker, onProgress, signal);
    return new Loaded(Promise.resolve(engine), model, request, worker);
  }

  get info(): ModelInfo {
    return this.model;
  }

  async refreshInfo(): Promise<ModelInfo> {
    return (this.model = await this.use((engine) => engine.info()));
  }

  /** `signal` ends the waiting for a model that is loaded again; the next call finds it. */
  async use<T>(work: (engine: Engine) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.disposed) throw new OfaError("internal", "the model has been disposed of");
    const current = (this.engine ??= this.again());
    const engine = await unlessAborted(current, signal);
    try {
      return await work(engine);
    } catch (error) {
      const failure = OfaError.from(error);
      if ((failure.code === "internal" || failure.code === "device") && this.engine === current && !this.disposed) {
        this.engine = undefined;
        current.then((engine) => engine.dispose(), () => undefined);
      }
      throw failure;
    }
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await this.engine?.then((engine) => engine.dispose(), () => undefined);
  }

  /** What cannot be loaded now may be the next time. */
  private again(): Promise<Engine> {
    const engine = this.reload();
    engine.catch(() => {
      if (this.engine === engine) this.engine = undefined;
    });
    return engine;
  }

  private async reload(): Promise<Engine> {
    const { engine, model } = await start(this.request, this.worker, () => undefined, new AbortController().signal);
    this.model = model;
    return engine;
  }
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new OfaError("aborted", "aborted"));
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", stop));
  });
}

async function start(
  request: LoadRequest,
  worker: boolean,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<{ engine: Engine; model: ModelInfo }> {
  const engine = worker ? new RemoteEngine() : new LocalEngine();
  try {
    return { engine, model: await engine.load(request, onProgress, signal) };
  } catch (error) {
    engine.dispose();
    throw OfaError.from(error);
  }
}
