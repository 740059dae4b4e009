import type { Engine, LoadRequest } from "./engine.js";
import type { ErrorMessage, Progress, StepEvent } from "./types.js";

/** The calls that cross into the worker; their arguments are the engine's without callbacks and signals. */
export interface Calls {
  load: [LoadRequest];
  encodeImage: [task: string, image: Parameters<Engine["encodeImage"]>[1], options: Parameters<Engine["encodeImage"]>[2]];
  freeImage: [handle: number];
  run: [
    task: string,
    image: number | undefined,
    inputs: Parameters<Engine["run"]>[2],
    options: Parameters<Engine["run"]>[3],
  ];
  runAll: [
    task: string,
    image: number | undefined,
    inputs: Parameters<Engine["runAll"]>[2],
    options: Parameters<Engine["runAll"]>[3],
  ];
  attention: [
    task: string,
    image: number,
    inputs: Parameters<Engine["attention"]>[2],
    options: Parameters<Engine["attention"]>[3],
    tokens: number[],
  ];
  loadCodes: [];
  draw: [codes: number[], caption: string | undefined];
  info: [];
}

export type ToWorker =
  | { [M in keyof Calls]: { id: number; method: M; args: Calls[M] } }[keyof Calls]
  | { id: number; method: "abort" }
  | { method: "leave" };

export type FromWorker =
  | { id: number; event: Progress | StepEvent }
  | { id: number; result: unknown }
  | { id: number; error: ErrorMessage; crashed: boolean };
