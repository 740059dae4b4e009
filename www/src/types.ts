import type { OfaErrorCode } from "./errors.js";
import type { DEVICES } from "./probe.js";
import type { TaskAnswers } from "./tasks.gen.js";

/** Where the model runs. `auto` takes WebGPU on a real GPU that can be opened, else the CPU. */
export type DeviceChoice = (typeof DEVICES)[number];

/** What an answer is made with; what is left out is the task's own. */
export interface AnswerOptions {
  /** The side in pixels of the square that the image is resized to. */
  imageSize?: number | undefined;
  /** Hypotheses kept by the search; 1 is greedy. */
  numBeams?: number | undefined;
  /** The most tokens of an answer. */
  maxLen?: number | undefined;
  minLen?: number | undefined;
  lengthPenalty?: number | undefined;
  temperature?: number | undefined;
  /** No n-gram of this size twice; 0 switches it off. */
  noRepeatNgramSize?: number | undefined;
  /** Draws `numBeams` answers instead of searching: each token is one of the k likeliest. */
  topK?: number | undefined;
  /** Draws: each token is one of the likeliest that have this probability together. */
  topP?: number | undefined;
  /** Of draws; the same seed gives the same answer. */
  seed?: number | undefined;
  /** What the decoder reads before it answers, where the inputs do not say. */
  promptType?: "none" | "src" | "prev_output" | undefined;
}

/** What a task is given besides the image. */
export interface TaskInputs {
  /** The question, phrase, sentence or article. */
  text?: string | undefined;
  /** The second text of tasks on two. */
  text2?: string | undefined;
  /** A caption of the image known beforehand. */
  caption?: string | undefined;
  /** A region of the image: left, top, right, bottom, from 0 to 1. */
  region?: Corners | undefined;
  /** The only answers allowed; each is scored exactly. */
  answers?: readonly string[] | undefined;
  /** Names of objects known to be in the image. */
  objects?: readonly string[] | undefined;
  /** What the decoder reads before it answers, in place of the task's own. */
  promptType?: "none" | "src" | "prev_output" | undefined;
}

/** Left, top, right, bottom. */
export type Corners = [number, number, number, number];

export interface Timings {
  /** Preparing the image and running the stem. */
  stemMs: number;
  encoderMs: number;
  decodeMs: number;
  /** Decoding steps. */
  steps: number;
}

export interface Scored {
  text: string;
  score: number;
}

interface Answered {
  tokens: number[];
  timings: Timings;
}

/** An answer in words. */
export interface TextAnswer extends Answered {
  kind: "text";
  text: string;
  /** As generated, before punctuation was removed. */
  raw: string;
  score: number;
  /** All hypotheses, best first. */
  alternatives: Scored[];
}

/** One of a closed set of answers. */
export interface LabelsAnswer extends Answered {
  kind: "labels";
  label: string;
  /** From 0 to 1. */
  probability: number;
  /** All of them, the likeliest first. */
  alternatives: { label: string; probability: number }[];
}

/** Where something is. */
export interface Place {
  /** In pixels of the image given: of an `<img>`, those of `naturalWidth` and `naturalHeight`. */
  pixels: Corners;
  /** The same from 0 to 1. */
  normalized: Corners;
}

/** Where a phrase is in the image. */
export interface BoxesAnswer extends Answered {
  kind: "boxes";
  phrase: string;
  /** Best first. */
  boxes: (Place & { score: number })[];
  raw: string;
  /** Why an answer is no box. */
  malformed?: string;
}

/** What is in the image, and where. */
export interface ObjectsAnswer extends Answered {
  kind: "objects";
  objects: (Place & { label: string })[];
  score: number;
  raw: string;
  /** What of the answer was no object. */
  malformed?: string;
}

/** Image codes in raster order, the best sequence first. */
export interface CodesAnswer extends Answered {
  kind: "codes";
  codes: number[][];
  scores: number[];
  /** What of the answer was no code. */
  malformed?: string;
}

/** A picture that the model drew. */
export interface Drawing {
  image: ImageData;
  codes: number[];
  /** What the search ranked its codes by. */
  score: number;
  /** How likely the model thinks it, from 0 to 1, that the caption describes the picture, where several were drawn. */
  fit?: number;
}

/** What was drawn: the picture that fits best first. */
export interface DrawingsAnswer extends CodesAnswer {
  drawings: Drawing[];
}

/** Where the model looked as it wrote an answer. */
export interface Attention {
  /** Patches in a row of the image; what a task sees beside an image is left out. */
  columns: number;
  words: {
    text: string;
    /** Each patch's share of the attention, row after row. */
    weights: number[];
  }[];
}

export type { TaskAnswers };

export type TaskName = keyof TaskAnswers;

/** A step of an answer. */
export type StepEvent =
  | { event: "token"; step: number; text: string }
  /** Of tasks that draw: the codes so far. */
  | { event: "codes"; step: number; codes: number[] }
  /** Of tasks that draw, once the image codes are loaded: what can be seen so far, from the top down. */
  | { event: "picture"; step: number; image: ImageData };

/** What happens while an answer is made. */
export type StreamEvent<T extends TaskName = TaskName> = StepEvent | { event: "answer"; answer: TaskAnswers[T] };

export type Phase = "compile" | "download" | "verify" | "upload" | "ready";

/** How far loading is: `loaded / total` is what a bar shows, whichever the phase. */
export interface Progress {
  /** What is being done. Downloads and uploads take turns. */
  phase: Phase;
  /** Bytes of the bundle that arrived, from the network or the cache; it never falls. */
  loaded: number;
  /** Bytes of the bundle, the same from first to last. */
  total: number;
  /** The file concerned. */
  file?: string;
}

/** A device and why it was chosen. */
export interface DeviceInfo {
  kind: "webgpu" | "cpu";
  /** The adapter's name, as far as the browser tells. */
  name: string;
  /** Why this one, where another would have been better or was asked for. */
  reason?: string;
  /** Of a loaded model on the CPU: how many threads work on it. */
  threads?: number;
}

/** What is loaded. */
export interface ModelInfo {
  version: string;
  device: DeviceInfo;
  precision: string;
  parameters: number;
  /** Bytes of the bundle. */
  bytes: number;
  vocabSize: number;
  /** Codes in a row of what it draws. */
  codeGrid: number;
  loading: LoadTimings;
  /** GPU work since the last question, if `counters` was asked for. */
  counters?: Counters;
}

/** Where the time of loading went. */
export interface LoadTimings {
  /** Fetching and compiling the wasm and the small files, and opening the device. */
  compileMs: number;
  /** Waiting for shards, while the device compiles what answers take. */
  downloadMs: number;
  uploadMs: number;
  /** Building the model from what was uploaded. */
  buildMs: number;
}

/** Calls into WebGPU. */
export interface Counters {
  dispatches: number;
  submits: number;
  pipelines: number;
  readbacks: number;
  readbackBytes: number;
  buffers: number;
}

export interface ErrorMessage {
  code: OfaErrorCode;
  message: string;
}
