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

  async use<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    if (this.disposed) throw new OfaError("internal", "the model has been disposed of");
    const current = (this.engine ??= this.reload());
    try {
      return await work(await current);
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

  private async reload(): Promise<Engine> {
    const { engine, model } = await start(this.request, this.worker, () => undefined, new AbortController().signal);
    this.model = model;
    return engine;
  }
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
