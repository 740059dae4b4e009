import { Crew, threadsHere, type CrewExports } from "./crew.js";
import { OfaError } from "./errors.js";

/** The interface of all wasm builds; see `src/wasm.rs` of the crate. */
export interface WasmModule {
  default(options: { module_or_path: Response | WebAssembly.Module }): Promise<unknown>;
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

/** Who shares the work of the modules of this realm, by where their bindings come from. */
const crews = new Map<string, Crew>();

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

/** The bindings and the wasm file of a build. */
function filesOf(kind: "webgpu" | "cpu", shared: boolean): [glue: URL, binary: URL] {
  // Bundlers follow literals only. The development server of Vite 5 to 7 moves this script away from its files, and finds
  // them as those of the package `ofa-web`; for all others that is a folder beside it.
  if (kind === "webgpu") return [new URL("ofa-web/wasm/gpu/ofa.js", import.meta.url), new URL("ofa-web/wasm/gpu/ofa_bg.wasm", import.meta.url)];
  const relaxed = WebAssembly.validate(new Uint8Array(RELAXED_SIMD));
  return shared
    ? [
        new URL("ofa-web/wasm/cpu/ofa_threads.js", import.meta.url),
        relaxed
          ? new URL("ofa-web/wasm/cpu/ofa_threads_relaxed_bg.wasm", import.meta.url)
          : new URL("ofa-web/wasm/cpu/ofa_threads_bg.wasm", import.meta.url),
      ]
    : [
        new URL("ofa-web/wasm/cpu/ofa.js", import.meta.url),
        relaxed
          ? new URL("ofa-web/wasm/cpu/ofa_relaxed_bg.wasm", import.meta.url)
          : new URL("ofa-web/wasm/cpu/ofa_bg.wasm", import.meta.url),
      ];
}

/** Fetches and compiles the one build that is needed. Damaged files are fetched once more. */
export async function loadWasm(
  kind: "webgpu" | "cpu",
  wanted: number | undefined,
  again = true,
): Promise<{ wasm: WasmModule; crew: Crew | undefined }> {
  const threads = kind === "cpu" ? threadsHere(wanted) : 1;
  const shared = threads > 1;
  const [glue, binary] = filesOf(kind, shared);
  const tries = failed.get(binary.href) ?? 0;
  const faulty = (url: URL, why: string, cause?: unknown) => {
    failed.set(binary.href, tries + 1);
    return new OfaError("fetch", `${url.origin}${url.pathname}: expected a file of the package ofa-web, beside its other files (${why})`, { cause });
  };
  if (abandoned + tries > 0) glue.search = `?again=${abandoned + tries}`;
  const wasm: WasmModule = await import(/* @vite-ignore */ glue.href).catch((error: Error) => {
    throw faulty(glue, error.message, error);
  });
  const loaded = () => {
    const crew = crews.get(glue.href);
    crew?.gather(threads);
    return { wasm, crew };
  };
  if (origins.has(glue.href)) return loaded();
  const response = await fetch(binary, { cache: tries > 0 ? "reload" : "default" }).catch((error: Error) => {
    throw faulty(binary, error.message, error);
  });
  const type = response.headers.get("Content-Type");
  if (!response.ok || type?.startsWith("text/html")) {
    throw faulty(binary, `the server answered ${response.status} ${response.ok ? "with a web page" : response.statusText}`);
  }
  // A module that was served as another type did not stream in, and V8 knows it by no address.
  const streamed = type === "application/wasm";
  try {
    if (shared) {
      const compiled = await (streamed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
      const exports = (await wasm.default({ module_or_path: compiled })) as CrewExports;
      if (!crews.has(glue.href)) crews.set(glue.href, new Crew(compiled, exports));
    } else {
      await wasm.default({ module_or_path: response });
    }
  } catch (error) {
    // Too little memory, or a trap: the file is as it should be.
    if (error instanceof RangeError || error instanceof WebAssembly.RuntimeError) throw error;
    const fault = faulty(binary, OfaError.from(error).message, error);
    if (again) return loadWasm(kind, wanted, false);
    throw fault;
  }
  origins.add(glue.href).add(streamed ? response.url : "wasm://");
  // Where it was compiled is its address in Firefox, unless it streamed in.
  if (shared && !streamed) origins.add(import.meta.url);
  return loaded();
}
