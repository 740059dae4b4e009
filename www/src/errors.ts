/** What went wrong, in one word that programs can rely on. */
export type OfaErrorCode =
  /** The caller's signal was aborted; `cause` is its reason. */
  | "aborted"
  /** A file could not be fetched: wrong address, no network, a refusal of the server. */
  | "fetch"
  /** `manifest.json` is not one of a bundle. */
  | "manifest"
  /** Bytes are not those that the manifest promises. */
  | "integrity"
  /** This browser or this GPU cannot run the model. */
  | "unsupported"
  /** The image cannot be read. */
  | "image"
  /** The model was disposed of before the call, or during it. */
  | "disposed"
  /** A bug, or the tab ran out of memory. */
  | "internal"
  /** From the model itself; the message names the file, key, tensor, task or option concerned. */
  | "file" | "config" | "tensor" | "vocab" | "task" | "option" | "device";

const CODES: ReadonlySet<string> = new Set<OfaErrorCode>([
  "aborted", "fetch", "manifest", "integrity", "unsupported", "image", "disposed", "internal",
  "file", "config", "tensor", "vocab", "task", "option", "device",
]);

/** The one error type of this package; `code` survives the way out of the worker. */
export class OfaError extends Error {
  readonly code: OfaErrorCode;

  constructor(code: OfaErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    // Code that knows nothing of this package recognises aborts by this name.
    this.name = code === "aborted" ? "AbortError" : "OfaError";
  }

  /** Any thrown value as an `OfaError`. */
  static from(error: unknown, fallback: OfaErrorCode = "internal"): OfaError {
    if (error instanceof OfaError) return error;
    const { name, message, code } = (error ?? {}) as { name?: unknown; message?: unknown; code?: unknown };
    const text = typeof message === "string" && message ? message : String(error);
    if (name === "AbortError" || code === "cancelled") return new OfaError("aborted", "aborted", { cause: error });
    if (typeof code === "string" && CODES.has(code)) return new OfaError(code as OfaErrorCode, text, { cause: error });
    return new OfaError(fallback, text, { cause: error });
  }
}

/** A failure that the model does not outlive: the next call loads it again. */
export class Crash extends OfaError {}

/** What a call fails with whose signal was aborted. */
export function aborted({ reason }: AbortSignal): OfaError {
  const late = (reason as { name?: unknown } | null | undefined)?.name === "TimeoutError";
  return new OfaError("aborted", late ? "aborted: it took longer than its signal allows" : "aborted", { cause: reason });
}

/** What calls of a model fail with that is no more. */
export function disposed(): OfaError {
  return new OfaError("disposed", "the model has been disposed of");
}

/** @throws OfaError `aborted` once the signal is. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** Waits no longer than until the signal is aborted. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** The class of a built-in object, whichever window it comes from: `instanceof` knows those of its own. */
export function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** What was found, for messages. */
export function describe(value: unknown): string {
  if (value === null || typeof value === "number") return String(value);
  return typeof value === "object" ? kindOf(value) : typeof value;
}
