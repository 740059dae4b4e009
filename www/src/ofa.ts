/**
 * OFA in the browser: captions and answers about images, on WebGPU or the CPU, with no server.
 *
 * @packageDocumentation
 */
import { ChunkCache, type CacheMode } from "./cache.js";
import { isCached } from "./download.js";
import type { Engine, LoadRequest } from "./engine.js";
import { OfaError, describe, kindOf, throwIfAborted } from "./errors.js";
import { toRgba, type ImageInput, type Rgba } from "./image.js";
import { Loaded } from "./loaded.js";
import { probe } from "./probe.js";
import { CODES, UrlSource, type FileAt } from "./source.js";
import type {
  AnswerOptions, Attention, Corners, DeviceChoice, DeviceInfo, Drawing, DrawingsAnswer, ModelInfo, Place, Progress, StepEvent,
  StreamEvent, TaskAnswers, TaskInputs, TaskName, TextAnswer,
} from "./types.js";

export { OfaError, type OfaErrorCode } from "./errors.js";
export type { ImageInput } from "./image.js";
export { TASK_IMAGES } from "./tasks.gen.js";
export type * from "./types.js";

export interface LoadOptions {
  /** Default `auto`. */
  device?: DeviceChoice | undefined;
  /** How many threads the CPU path takes, on pages that are cross-origin isolated. Default: the processor's, four at most. */
  threads?: number | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** `auto` keeps what was verified in the browser's cache. Default `auto`. */
  cache?: CacheMode | undefined;
  /** Run in a worker, so that the page stays responsive. Default true. */
  worker?: boolean | undefined;
  /** Count calls into WebGPU; read them with {@link OFA.refreshInfo}. */
  counters?: boolean | undefined;
}

/** A bundle: its address, or its files. Those of a folder that was picked know their paths, those that were dropped do not. */
export type BundleInput = string | URL | { files: Iterable<File | readonly [path: string, file: Blob]> };

export interface CallOptions extends AnswerOptions {
  signal?: AbortSignal | undefined;
  /** Every step, with the best answer so far; without a text while all of a closed set are scored at once. */
  onToken?: ((event: Extract<StepEvent, { event: "token" }>) => void) | undefined;
}

export interface DrawOptions extends Omit<CallOptions, "onToken"> {
  /** What can be seen so far, row by row; of several drawings the first. */
  onPicture?: ((image: ImageData) => void) | undefined;
  /** The image codes on their way, which are fetched when something is drawn for the first time. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** An image after the stem. Ask as many questions of it as you like, then free it. */
export class EncodedImage {
  /** @internal */
  constructor(
    readonly owner: object,
    readonly handle: number,
    readonly natural: Rgba["natural"],
    readonly size: number | undefined,
    private readonly release: () => Promise<void>,
  ) {}

  /** What went with its model, after a crash or `dispose`, is free already. */
  free(): Promise<void> {
    return this.release().catch(ignore);
  }
}

const ignore = () => undefined;
const never = () => new AbortController().signal;

/** A loaded model. */
export class OFA {
  private constructor(private readonly loaded: Loaded) {}

  /**
   * Loads a bundle.
   *
   * @throws OfaError `fetch`, `manifest`, `integrity`, `unsupported`, `aborted`, or one of the model's own codes.
   */
  static async load(bundle: BundleInput, options: LoadOptions = {}): Promise<OFA> {
    const { device = "auto", threads, onProgress, signal, cache = "auto", worker = true, counters = false, ...rest } = withSignal(options);
    const unknown = Object.keys(rest)[0];
    if (unknown !== undefined) throw new OfaError("option", `${unknown}: there is no such option of a load`);
    checkCache(cache);
    throwIfAborted(signal);
    const request: LoadRequest = { ...placeOf(bundle), device, threads, cache, counters };
    return new OFA(await Loaded.load(request, worker, reported(onProgress), signal));
  }

  /** What is loaded, and on which device and why. */
  get info(): ModelInfo {
    return this.loaded.info;
  }

  /** {@link info} with fresh counters. */
  refreshInfo(): Promise<ModelInfo> {
    return this.loaded.refreshInfo();
  }

  /** Describes an image. */
  caption(image: ImageInput | EncodedImage, options: CallOptions = {}): Promise<TextAnswer> {
    return this.run("caption", image, {}, options);
  }

  /** Answers a question about an image; with `answers`, chooses among them. */
  async vqa(
    image: ImageInput | EncodedImage,
    question: string,
    options: CallOptions & { answers?: readonly string[] | undefined } = {},
  ): Promise<TextAnswer> {
    const { answers, ...rest } = given(options);
    return this.run("vqa", image, answers ? { text: question, answers } : { text: question }, rest);
  }

  /** Finds the region that a phrase describes. */
  ground(image: ImageInput | EncodedImage, phrase: string, options: CallOptions = {}): Promise<TaskAnswers["grounding"]> {
    return this.run("grounding", image, { text: phrase }, options);
  }

  /** Describes a region: left, top, right, bottom, from 0 to 1. */
  describeRegion(
    image: ImageInput | EncodedImage,
    region: Corners,
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
  async entail(
    image: ImageInput | EncodedImage,
    sentence: string,
    options: CallOptions & { caption?: string | undefined } = {},
  ): Promise<TaskAnswers["entailment"]> {
    const { caption, ...rest } = given(options);
    return this.run("entailment", image, caption === undefined ? { text: sentence } : { text: sentence, caption }, rest);
  }

  /** Names what an image shows, out of `names`. */
  classify(image: ImageInput | EncodedImage, names: readonly string[], options: CallOptions = {}): Promise<TaskAnswers["classify"]> {
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

  /** Draws pictures of a caption, `numBeams` of them. Of several, the one that the model thinks fits best comes first. */
  generateImage(caption: string, options: DrawOptions = {}): Promise<DrawingsAnswer> {
    return this.drawings("image_gen", undefined, { text: caption }, options);
  }

  /** Draws the middle of an image, which the model does not see. */
  infillImage(image: ImageInput | EncodedImage, options: DrawOptions = {}): Promise<DrawingsAnswer> {
    return this.drawings("infill_image", image, {}, options);
  }

  /** Any task by its name. */
  async run<T extends TaskName>(
    task: T,
    image: ImageInput | EncodedImage | undefined,
    inputs: TaskInputs = {},
    options: CallOptions = {},
  ): Promise<TaskAnswers[T]> {
    const { onToken, ...rest } = given(options);
    const onText = reported(onToken);
    return this.answer(task, image, inputs, rest, (event) => event.event === "token" && onText(event));
  }

  /**
   * Many questions of one image, or of none, in batches: the answers are those of {@link run} one by one, their scores to
   * the fifth digit or so, sooner.
   */
  async runAll<T extends TaskName>(
    task: T,
    image: ImageInput | EncodedImage | undefined,
    inputs: readonly TaskInputs[],
    options: Omit<CallOptions, "onToken"> = {},
  ): Promise<TaskAnswers[T][]> {
    if (!Array.isArray(inputs)) throw new OfaError("option", `expected a list of inputs, found ${describe(inputs)}`);
    return this.ask(task, image, options, async (engine, seen, answerOptions, signal) => {
      const answers = (await engine.runAll(task, seen?.handle, [...inputs], answerOptions, signal)) as TaskAnswers[T][];
      return answers.map((answer) => placed(answer, seen));
    });
  }

  /**
   * Where the model looked as it wrote each word of an answer, which it reads again for this. Inputs and options are
   * those that the answer was made with.
   */
  async attention<T extends TaskName>(
    task: T,
    image: ImageInput | EncodedImage,
    inputs: TaskInputs,
    answer: TaskAnswers[T],
    options: Omit<CallOptions, "onToken"> = {},
  ): Promise<Attention> {
    const tokens = given(answer?.tokens, "the tokens of an answer");
    return this.ask(task, image, options, (engine, seen, answerOptions, signal) => {
      if (!seen) throw new OfaError("image", `expected an image, found ${describe(image)}`);
      return engine.attention(task, seen.handle, inputs, answerOptions, tokens, signal);
    });
  }

  /**
   * Fetches what turns codes into pictures; `generateImage` and `infillImage` do it when they need it.
   *
   * @throws OfaError `file` if the bundle has no image codes, and what {@link OFA.load} throws.
   */
  async loadCodes(options: Pick<LoadOptions, "onProgress" | "signal"> = {}): Promise<void> {
    const { onProgress, signal } = withSignal(options);
    return this.loaded.use((engine) => engine.loadCodes(reported(onProgress), signal), signal);
  }

  /** The picture of codes, row after row, which need not all be there; none before the first row is. */
  async drawCodes(codes: number[], options: Pick<LoadOptions, "onProgress" | "signal"> = {}): Promise<ImageData | undefined> {
    const wrong = Array.isArray(codes) ? codes.filter((code) => !(Number.isInteger(code) && code >= 0)) : [codes];
    if (wrong.length > 0) throw new OfaError("option", `codes: expected a list of whole numbers, found ${describe(wrong[0])}`);
    await this.loadCodes(options);
    const most = this.info.codeGrid ** 2;
    if (codes.length > most) throw new OfaError("option", `codes: expected ${most} at most, found ${codes.length}`);
    const { signal } = withSignal(options);
    const drawn = await this.loaded.use((engine) => engine.draw(codes, undefined, signal), signal);
    return drawn?.image;
  }

  /** An answer as it grows. Its image is read at once, and it is asked for when the loop begins; leaving the loop cancels. */
  stream<T extends TaskName>(
    task: T,
    asked: TaskInputs & { image?: ImageInput | EncodedImage | undefined },
    options: Omit<CallOptions, "onToken"> = {},
  ): AsyncGenerator<StreamEvent<T>, void, undefined> {
    const controller = new AbortController();
    const begun = (async () => {
      const { image, ...inputs } = given(asked, "an object of inputs");
      const signal = AbortSignal.any([withSignal(options).signal, controller.signal]);
      return { seen: seenIn(image, signal), inputs, signal };
    })();
    begun.catch(ignore);
    return this.events(task, begun, options, controller);
  }

  private async *events<T extends TaskName>(
    task: T,
    begun: Promise<{ seen: Seen; inputs: TaskInputs; signal: AbortSignal }>,
    options: Omit<CallOptions, "onToken">,
    controller: AbortController,
  ): AsyncGenerator<StreamEvent<T>, void, undefined> {
    const { seen, inputs, signal } = await begun;
    const events: StreamEvent<T>[] = [];
    let wake: () => void = ignore;
    let failure: unknown;
    let done = false;
    const onEvent = (event: StepEvent) => {
      events.push(event);
      wake();
    };
    this.answer(task, seen, inputs, { ...options, signal }, onEvent)
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
  async encodeImage(
    image: ImageInput,
    options: AnswerOptions & { signal?: AbortSignal | undefined; task?: TaskName | undefined } = {},
  ): Promise<EncodedImage> {
    const { signal, task = "caption", ...answerOptions } = withSignal(options);
    checkName(task);
    const picture = new Reading(image, signal);
    return this.loaded.use((engine) => encode(engine, task, picture, answerOptions, signal), signal);
  }

  /** Frees the model and its worker. */
  dispose(): Promise<void> {
    return this.loaded.dispose();
  }

  /** What the model would run on here; downloads nothing. */
  static probe(device: DeviceChoice = "auto"): Promise<DeviceInfo> {
    return probe(device);
  }

  /**
   * Whether all that loading reads of a bundle is in the browser's cache: then it needs no network. The package's own files
   * are not there: a page that is to open without a network keeps them itself, as a service worker's precache does.
   */
  static async isCached(url: string | URL, options: Pick<LoadOptions, "signal"> = {}): Promise<boolean> {
    const { signal } = withSignal(options);
    return isCached(new UrlSource(addressIn(url), 0), await ChunkCache.open("auto"), signal);
  }

  /** Removes a bundle's weights, image codes and all, from the browser's cache. */
  static async clearCache(url: string | URL): Promise<void> {
    const source = new UrlSource(addressIn(url));
    const cache = await ChunkCache.open("auto");
    for (const bundle of [source, source.folder(CODES)]) await cache.forget(bundle.describe(""));
  }

  private answer<T extends TaskName>(
    task: T,
    image: ImageInput | Seen,
    inputs: TaskInputs,
    options: Omit<CallOptions, "onToken">,
    onEvent: (event: StepEvent) => void,
    prepare?: (engine: Engine) => Promise<void>,
  ): Promise<TaskAnswers[T]> {
    return this.ask(task, image, options, async (engine, seen, answerOptions, signal) =>
      placed((await engine.run(task, seen?.handle, inputs, answerOptions, onEvent, signal)) as TaskAnswers[T], seen), prepare);
  }

  /** Works with an image that is encoded for this alone, unless it was encoded before. */
  private async ask<R>(
    task: TaskName,
    image: ImageInput | Seen,
    options: Omit<CallOptions, "onToken">,
    work: (engine: Engine, seen: EncodedImage | undefined, options: AnswerOptions, signal: AbortSignal) => Promise<R>,
    prepare: (engine: Engine) => Promise<void> = async () => undefined,
  ): Promise<R> {
    const { signal, ...answerOptions } = withSignal(options);
    checkName(task);
    for (const [name, value] of Object.entries(answerOptions)) {
      if (typeof value === "function") throw new OfaError("option", `${name}: this call takes no such callback`);
    }
    const seen = seenIn(image, signal);
    return this.loaded.use(async (engine) => {
      await prepare(engine);
      if (!(seen instanceof Reading)) {
        checkEncoded(seen, engine, answerOptions);
        return work(engine, seen, answerOptions, signal);
      }
      const encoded = await encode(engine, task, seen, answerOptions, signal);
      try {
        return await work(engine, encoded, answerOptions, signal);
      } finally {
        void encoded.free();
      }
    }, signal);
  }

  private async drawings(
    task: "image_gen" | "infill_image",
    image: ImageInput | EncodedImage | undefined,
    inputs: TaskInputs,
    options: DrawOptions,
  ): Promise<DrawingsAnswer> {
    const { onPicture, onProgress, ...rest } = withSignal(options);
    const { signal } = rest;
    const show = reported(onPicture);
    const onEvent = (event: StepEvent) => event.event === "picture" && show(event.image);
    const prepare = (engine: Engine) => engine.loadCodes(reported(onProgress), signal);
    const answer = await this.answer(task, image, inputs, rest, onEvent, prepare);
    const judged = answer.codes.length > 1 ? inputs.text : undefined;
    const drawings: Drawing[] = [];
    for (const [index, codes] of answer.codes.entries()) {
      const drawn = await this.loaded.use((engine) => engine.draw(codes, judged, signal), signal);
      if (drawn) drawings.push({ ...drawn, codes, score: answer.scores[index] as number });
    }
    // The likelier comes first, and stays there among equals.
    drawings.sort((a, b) => (b.fit ?? 0) - (a.fit ?? 0));
    return { ...answer, drawings };
  }
}

/** An image that is read from when this is made on: the caller may change or close it as soon as the call returns. */
class Reading {
  readonly pixels: Promise<Rgba>;

  constructor(image: ImageInput, signal: AbortSignal) {
    this.pixels = toRgba(image, signal);
    // Whoever gets to it hears of its failure; a call that fails before does not.
    this.pixels.catch(ignore);
  }
}

type Seen = EncodedImage | Reading | undefined;

function seenIn(image: ImageInput | Seen, signal: AbortSignal): Seen {
  return image === undefined || image instanceof EncodedImage || image instanceof Reading ? image : new Reading(image, signal);
}

async function encode(
  engine: Engine,
  task: TaskName,
  picture: Reading,
  options: AnswerOptions,
  signal: AbortSignal,
): Promise<EncodedImage> {
  const pixels = await picture.pixels;
  const handle = await engine.encodeImage(task, pixels, options, signal);
  return new EncodedImage(engine, handle, pixels.natural, options.imageSize, () => engine.freeImage(handle));
}

/** An answer with its places in the pixels of the element that was asked about. */
function placed<A>(answer: A, seen: EncodedImage | undefined): A {
  const { natural } = seen ?? {};
  if (!natural) return answer;
  const { boxes = [], objects = [] } = answer as { boxes?: Place[]; objects?: Place[] };
  for (const place of [...boxes, ...objects]) {
    place.pixels = place.normalized.map((side, at) => side * natural[(at % 2) as 0 | 1]) as Corners;
  }
  return answer;
}

/** An argument that must be an object; JavaScript gives anything. */
function given<T>(argument: T, expected = "an object of options"): T {
  if (typeof argument === "object" && argument !== null) return argument;
  throw new OfaError("option", `expected ${expected}, found ${describe(argument)}`);
}

function withSignal<T extends { signal?: AbortSignal | undefined }>(options: T): T & { signal: AbortSignal } {
  const signal = given(options).signal ?? never();
  // Whichever window it comes from, and whoever made up for browsers that have none.
  if (typeof (signal as { aborted?: unknown } | null)?.aborted === "boolean") return { ...options, signal };
  throw new OfaError("option", `signal: expected an AbortSignal, found ${describe(signal)}`);
}

function checkName(task: unknown): void {
  if (typeof task !== "string") throw new OfaError("task", `expected the name of a task, found ${describe(task)}`);
}

/** A caller's callback. What it throws is reported as what an event listener throws is, and ends no work. */
function reported<E>(callback: ((event: E) => void) | undefined): (event: E) => void {
  return (event) => {
    try {
      callback?.(event);
    } catch (error) {
      reportError(error);
    }
  };
}

function checkCache(cache: unknown): void {
  if (cache === "auto" || cache === "none") return;
  throw new OfaError("option", `cache: expected "auto" or "none", found ${typeof cache === "string" ? JSON.stringify(cache) : describe(cache)}`);
}

function checkEncoded(seen: EncodedImage | undefined, engine: Engine, { imageSize }: AnswerOptions): void {
  if (!seen) return;
  if (seen.owner !== engine) {
    throw new OfaError("option", "the encoded image belongs to another model, or to this one before it was loaded again");
  }
  if (imageSize !== undefined && imageSize !== seen.size) {
    throw new OfaError("option", `imageSize: the image has been encoded already, ${seen.size ? `as ${seen.size} pixels` : "in the model's own size"}`);
  }
}

const isAddress = (value: unknown): value is string | URL => typeof value === "string" || kindOf(value) === "URL";

function addressIn(url: unknown): string | URL {
  if (isAddress(url)) return url;
  throw new OfaError("option", `expected the address of a bundle, found ${describe(url)}`);
}

function placeOf(bundle: BundleInput): Pick<LoadRequest, "url" | "files"> {
  // A worker resolves relative addresses against its own script.
  if (isAddress(bundle)) return { url: new UrlSource(bundle).address(""), files: undefined };
  const { files } = given(bundle, "the address of a bundle, or { files }") as { files?: Iterable<unknown> };
  if (typeof files === "object" && Symbol.iterator in files) return { url: undefined, files: Array.from(files, withPath) };
  throw new OfaError("option", `expected the address of a bundle, or { files }, a list of them, found ${describe(files ?? bundle)}`);
}

/** A file with its path, which some browsers lose on the way to a worker. */
function withPath(entry: unknown): FileAt {
  if (kindOf(entry) === "File") return [(entry as File).webkitRelativePath || (entry as File).name, entry as File];
  const [path, file] = Array.isArray(entry) ? (entry as unknown[]) : [];
  if (typeof path === "string" && ["File", "Blob"].includes(kindOf(file))) return [path, file as Blob];
  throw new OfaError("option", `files: expected each as a File or as [path, file], found ${describe(entry)}`);
}
