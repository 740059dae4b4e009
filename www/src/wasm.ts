import { OfaError } from "./errors.js";

/** The interface of both wasm builds; see `src/wasm.rs` of the crate. */
export interface WasmModule {
  default(options: { module_or_path: Response }): Promise<unknown>;
  version(): string;
  Session: {
    create(config: string, tokenizer: string, generation?: string): Promise<WasmSession>;
  };
}

export interface WasmSession {
  rehearse(): Promise<void>;
  addShard(name: string, bytes: Uint8Array): void;
  finish(): Promise<void>;
  encodeImage(task: string, rgba: Uint8Array, width: number, height: number, options?: string): Promise<number>;
  freeImage(handle: number): void;
  run(
    task: string,
    image: number | undefined,
    inputs: string | undefined,
    options: string | undefined,
    onEvent: ((event: string) => boolean | Promise<boolean>) | undefined,
  ): Promise<string>;
  runAll(
    task: string,
    image: number | undefined,
    inputs: string,
    options: string | undefined,
    onEvent: ((event: string) => boolean | Promise<boolean>) | undefined,
  ): Promise<string>;
  attention(task: string, image: number, inputs: string | undefined, options: string | undefined, tokens: Uint32Array): Promise<string>;
  openCodes(config: string): WasmCodes;
  draw(codes: WasmCodes, sequence: Uint32Array, caption: string | undefined): Promise<WasmPicture | undefined>;
  info(): string;
  free(): void;
}

/** What turns codes into pictures. */
export interface WasmCodes {
  addShard(name: string, bytes: Uint8Array): void;
  finish(): void;
  free(): void;
}

export interface WasmPicture {
  readonly width: number;
  readonly height: number;
  readonly fit: number | undefined;
  rgba(): Uint8Array;
  free(): void;
}

/** How many modules of this realm trapped or lost their GPU. Under another address a fresh one is made of the file. */
let abandoned = 0;

export function abandonModule(): void {
  abandoned++;
}

/** How often files of each build were missing or damaged, which a browser may remember. */
const failed = new Map<string, number>();

/** Where the modules of this realm come from. */
const origins = new Set<string>();

/** Whether an error is a trap of the model, not of another module of the page. */
export function isTrap(error: unknown): boolean {
  if (!(error instanceof WebAssembly.RuntimeError)) return false;
  // Of the frames that have an address the innermost is where it happened, or what called it. Some browsers list whose
  // callback it was in, too.
  const where = error.stack?.split("\n").find((frame) => frame.includes("://"));
  return where !== undefined && [...origins].some((origin) => where.includes(origin));
}

/** A module with one function, a multiply-add of relaxed SIMD. */
const RELAXED_SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11,
];

/** Fetches and compiles the one build that is needed. Damaged files are fetched once more. */
export async function loadWasm(kind: "webgpu" | "cpu", again = true): Promise<WasmModule> {
  // Bundlers follow literals only. The development server of Vite 5 to 7 moves this script away from its files, and finds
  // them as those of the package `ofa-web`; for all others that is a folder beside it.
  const [glue, binary] =
    kind === "webgpu"
      ? [new URL("ofa-web/wasm/gpu/ofa.js", import.meta.url), new URL("ofa-web/wasm/gpu/ofa_bg.wasm", import.meta.url)]
      : [
          new URL("ofa-web/wasm/cpu/ofa.js", import.meta.url),
          WebAssembly.validate(new Uint8Array(RELAXED_SIMD))
            ? new URL("ofa-web/wasm/cpu/ofa_relaxed_bg.wasm", import.meta.url)
            : new URL("ofa-web/wasm/cpu/ofa_bg.wasm", import.meta.url),
        ];
  const tries = failed.get(kind) ?? 0;
  const faulty = (url: URL, why: string, cause?: unknown) => {
    failed.set(kind, tries + 1);
    return new OfaError("fetch", `${url.origin}${url.pathname}: expected a file of the package ofa-web, beside its other files (${why})`, { cause });
  };
  if (abandoned + tries > 0) glue.search = `?again=${abandoned + tries}`;
  const module: WasmModule = await import(/* @vite-ignore */ glue.href).catch((error: Error) => {
    throw faulty(glue, error.message, error);
  });
  if (origins.has(glue.href)) return module;
  const response = await fetch(binary, { cache: tries > 0 ? "reload" : "default" }).catch((error: Error) => {
    throw faulty(binary, error.message, error);
  });
  const type = response.headers.get("Content-Type");
  if (!response.ok || type?.startsWith("text/html")) {
    throw faulty(binary, `the server answered ${response.status} ${response.ok ? "with a web page" : response.statusText}`);
  }
  try {
    await module.default({ module_or_path: response });
  } catch (error) {
    // Too little memory, or a trap: the file is as it should be.
    if (error instanceof RangeError || error instanceof WebAssembly.RuntimeError) throw error;
    const fault = faulty(binary, OfaError.from(error).message, error);
    if (again) return loadWasm(kind, false);
    throw fault;
  }
  // A module that was served as another type did not stream in, and V8 knows it by no address.
  const streamed = type === "application/wasm";
  origins.add(glue.href).add(streamed ? response.url : "wasm://");
  return module;
}
