import { LocalEngine, type Engine, type LoadRequest } from "./engine.js";
import { Crash, OfaError, disposed, unlessAborted } from "./errors.js";
import { RemoteEngine } from "./remote.js";
import type { ModelInfo, Progress } from "./types.js";

/** An engine with its model; after a crash, or when the GPU was lost, the model is loaded again before the next call. */
export class Loaded {
  /** Aborted once the model is disposed of. */
  private readonly disposal = new AbortController();

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
    if (this.disposal.signal.aborted) throw disposed();
    const current = (this.engine ??= this.again());
    try {
      return await work(await unlessAborted(current, signal));
    } catch (error) {
      const failure = OfaError.from(error);
      if (failure instanceof Crash && this.engine === current) {
        this.engine = undefined;
        current.then((engine) => engine.dispose(), () => undefined);
      }
      throw failure;
    }
  }

  async dispose(): Promise<void> {
    this.disposal.abort();
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
    const { signal } = this.disposal;
    const { engine, model } = await start(this.request, this.worker, () => undefined, signal).catch((error: unknown) => {
      throw signal.aborted ? disposed() : error;
    });
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
  const engine = worker ? remote() : new LocalEngine();
  try {
    return { engine, model: await engine.load(request, onProgress, signal) };
  } catch (error) {
    void engine.dispose();
    throw OfaError.from(error);
  }
}

function remote(): RemoteEngine {
  try {
    return new RemoteEngine();
  } catch (error) {
    const why = OfaError.from(error).message;
    throw new OfaError("unsupported", `no worker can be started here; \`worker: false\` runs the model in the page (${why})`, { cause: error });
  }
}
