/**
 * OFA in the browser: captions and answers about images, on WebGPU or the CPU, with no server.
 *
 * @packageDocumentation
 */
import { ChunkCache, type CacheMode } from "./cache.js";
import { fetchManifest, isCached } from "./download.js";
import { LocalEngine, type Engine, type LoadRequest, type TokenEvent } from "./engine.js";
import { OfaError, throwIfAborted } from "./errors.js";
import { toRgba, type ImageInput } from "./image.js";
import { probe } from "./probe.js";
import { RemoteEngine } from "./remote.js";
import { UrlSource } from "./source.js";
import type {
  AnswerOptions, DeviceChoice, DeviceInfo, ModelInfo, Progress, StreamEvent, TaskAnswers, TaskInputs, TaskName, TextAnswer,
} from "./types.js";

export { OfaError, type OfaErrorCode } from "./errors.js";
export type { ImageInput } from "./image.js";
export type * from "./types.js";

export interface LoadOptions {
  /** Default `auto`. */
  device?: DeviceChoice;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** `auto` keeps verified weights in the browser's cache. Default `auto`. */
  cache?: CacheMode;
  /** Run in a worker, so that the page stays responsive. Default true. */
  worker?: boolean;
  /** Count calls into WebGPU; read them with {@link OFA.refreshInfo}. */
  counters?: boolean;
}

/** A bundle: its address, or its files (a folder that the user picked or dropped). */
export type BundleInput = string | URL | { files: Iterable<File> };

export interface CallOptions extends AnswerOptions {
  signal?: AbortSignal;
  /** Every step, with the best answer so far. */
  onToken?: (event: TokenEvent) => void;
}

/** An image after the stem. Ask as many questions of it as you like, then free it. */
export class EncodedImage {
  /** @internal */
  constructor(readonly owner: object, readonly handle: number, private readonly release: () => Promise<void>) {}

  free(): Promise<void> {
    return this.release();
  }
}

/** A loaded model. */
export class OFA {
  private disposed = false;

  private constructor(
    /** Absent between a crash and the next call. */
    private engine: Promise<Engine> | undefined,
    private model: ModelInfo,
    private readonly request: LoadRequest,
    private readonly worker: boolean,
  ) {}

  /**
   * Loads a bundle.
   *
   * @throws OfaError `fetch`, `manifest`, `integrity`, `unsupported`, `aborted`, or one of the model's own codes.
   */
  static async load(bundle: BundleInput, options: LoadOptions = {}): Promise<OFA> {
    const { device = "auto", onProgress, signal, cache = "auto", worker = true, counters = false } = options;
    throwIfAborted(signal);
    const request: LoadRequest = {
      // A worker resolves relative addresses against its own script.
      url: isFiles(bundle) ? undefined : new UrlSource(bundle).describe(""),
      files: isFiles(bundle) ? [...bundle.files] : undefined,
      device,
      cache,
      counters,
    };
    const { engine, model } = await start(request, worker, onProgress, signal);
    return new OFA(Promise.resolve(engine), model, request, worker);
  }

  /** What is loaded, and on which device and why. */
  get info(): ModelInfo {
    return this.model;
  }

  /** {@link info} with fresh counters. */
  async refreshInfo(): Promise<ModelInfo> {
    return (this.model = await this.guarded((engine) => engine.info()));
  }

  /** Describes an image. */
  caption(image: ImageInput | EncodedImage, options: CallOptions = {}): Promise<TextAnswer> {
    return this.run("caption", image, {}, options);
  }

  /** Answers a question about an image; with `answers`, chooses among them. */
  vqa(image: ImageInput | EncodedImage, question: string, options: CallOptions & { answers?: string[] } = {}): Promise<TextAnswer> {
    const { answers, ...rest } = options;
    return this.run("vqa", image, answers ? { text: question, answers } : { text: question }, rest);
  }

  /** Finds the region that a phrase describes. */
  ground(image: ImageInput | EncodedImage, phrase: string, options: CallOptions = {}): Promise<TaskAnswers["grounding"]> {
    return this.run("grounding", image, { text: phrase }, options);
  }

  /** Describes a region: left, top, right, bottom, from 0 to 1. */
  describeRegion(
    image: ImageInput | EncodedImage,
    region: [number, number, number, number],
    options: CallOptions = {},
  ): Promise<TaskAnswers["region_caption"]> {
    return this.run("region_caption", image, { region }, options);
  }

  /** Says whether a caption describes an image. */
  match(image: ImageInput | EncodedImage, caption: string, options: CallOptions = {}): Promise<TaskAnswers["match"]> {
    return this.run("match", image, { text: caption }, options);
  }

  /** Lists the objects in an image and where they are. */
  detect(image: ImageInput | EncodedImage, options: CallOptions = {}): Promise<TaskAnswers["detect"]> {
    return this.run("detect", image, {}, options);
  }

  /** Says whether an image, and its caption if there is one, implies a sentence. */
  entail(
    image: ImageInput | EncodedImage,
    sentence: string,
    options: CallOptions & { caption?: string } = {},
  ): Promise<TaskAnswers["entailment"]> {
    const { caption, ...rest } = options;
    return this.run("entailment", image, caption === undefined ? { text: sentence } : { text: sentence, caption }, rest);
  }

  /** Names what an image shows, out of `names`. */
  classify(image: ImageInput | EncodedImage, names: string[], options: CallOptions = {}): Promise<TaskAnswers["classify"]> {
    return this.run("classify", image, { answers: names }, options);
  }

  /** Reads the text on an image. */
  readText(image: ImageInput | EncodedImage, options: CallOptions = {}): Promise<TaskAnswers["ocr"]> {
    return this.run("ocr", image, {}, options);
  }

  /** Completes a text whose gaps are written `<mask>`. */
  infillText(text: string, options: CallOptions = {}): Promise<TaskAnswers["infill_text"]> {
    return this.run("infill_text", undefined, { text }, options);
  }

  /** Any task by its name. */
  async run<T extends TaskName>(
    task: T,
    image: ImageInput | EncodedImage | undefined,
    inputs: TaskInputs = {},
    options: CallOptions = {},
  ): Promise<TaskAnswers[T]> {
    const { signal = new AbortController().signal, onToken = () => undefined, ...answerOptions } = options;
    return this.guarded(async (engine) => {
      if (image === undefined || image instanceof EncodedImage) {
        if (image && image.owner !== engine) {
          throw new OfaError("option", "the encoded image belongs to another model, or to this one before it was loaded again");
        }
        return engine.run(task, image?.handle, inputs, answerOptions, onToken, signal) as Promise<TaskAnswers[T]>;
      }
      const handle = await engine.encodeImage(task, await toRgba(image, signal), size(answerOptions), signal);
      try {
        return (await engine.run(task, handle, inputs, answerOptions, onToken, signal)) as TaskAnswers[T];
      } finally {
        engine.freeImage(handle).catch(() => undefined);
      }
    });
  }

  /** An answer as it grows. Leaving the loop cancels. */
  async *stream<T extends TaskName>(
    task: T,
    { image, ...inputs }: TaskInputs & { image?: ImageInput | EncodedImage },
    options: Omit<CallOptions, "onToken"> = {},
  ): AsyncGenerator<StreamEvent<T>, void, undefined> {
    const controller = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, controller.signal]) : controller.signal;
    const events: StreamEvent<T>[] = [];
    let wake = () => {};
    let failure: unknown;
    let done = false;
    const onToken = (event: TokenEvent) => {
      events.push(event);
      wake();
    };
    this.run(task, image, inputs, { ...options, signal, onToken })
      .then((answer) => events.push({ event: "answer", answer }), (error: unknown) => (failure = error))
      .finally(() => {
        done = true;
        wake();
      });
    try {
      for (;;) {
        const event = events.shift();
        if (event) yield event;
        else if (failure) throw failure;
        else if (done) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      controller.abort();
    }
  }

  /** Runs the stem over an image, once for any number of questions. */
  async encodeImage(image: ImageInput, options: AnswerOptions & { signal?: AbortSignal; task?: TaskName } = {}): Promise<EncodedImage> {
    const { signal = new AbortController().signal, task = "caption", ...answerOptions } = options;
    return this.guarded(async (engine) => {
      const handle = await engine.encodeImage(task, await toRgba(image, signal), size(answerOptions), signal);
      return new EncodedImage(engine, handle, () => engine.freeImage(handle));
    });
  }

  /** Frees the model and its worker. */
  async dispose(): Promise<void> {
    this.disposed = true;
    await this.engine?.then((engine) => engine.dispose(), () => undefined);
  }

  /** What the model would run on here; downloads nothing. */
  static probe(device: DeviceChoice = "auto"): Promise<DeviceInfo> {
    return probe(device);
  }

  /** Whether all weights of a bundle are in the browser's cache. */
  static async isCached(url: string | URL): Promise<boolean> {
    const manifest = await fetchManifest(new UrlSource(url), new AbortController().signal);
    return isCached(manifest, await ChunkCache.open("auto"));
  }

  /** Removes a bundle's weights from the browser's cache. */
  static async clearCache(url: string | URL): Promise<void> {
    const manifest = await fetchManifest(new UrlSource(url), new AbortController().signal);
    const cache = await ChunkCache.open("auto");
    await Promise.all(manifest.files.flatMap((file) => file.chunks).map((hash) => cache.delete(hash)));
  }

  /** After a crash, or when the GPU was lost, the model is loaded again before the next call. */
  private async guarded<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
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

  private async reload(): Promise<Engine> {
    const { engine, model } = await start(this.request, this.worker);
    this.model = model;
    return engine;
  }
}

async function start(
  request: LoadRequest,
  worker: boolean,
  onProgress: (progress: Progress) => void = () => undefined,
  signal: AbortSignal = new AbortController().signal,
): Promise<{ engine: Engine; model: ModelInfo }> {
  const engine = worker ? new RemoteEngine() : new LocalEngine();
  try {
    return { engine, model: await engine.load(request, onProgress, signal) };
  } catch (error) {
    engine.dispose();
    throw OfaError.from(error);
  }
}

function size({ imageSize }: AnswerOptions): AnswerOptions {
  return imageSize === undefined ? {} : { imageSize };
}

function isFiles(bundle: BundleInput): bundle is { files: Iterable<File> } {
  return typeof bundle === "object" && "files" in bundle;
}
