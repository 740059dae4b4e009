import { OfaError, throwIfAborted } from "./errors.js";

/** Where a bundle's files come from. */
export interface Source {
  /** For messages. */
  describe(name: string): string;
  /** The bytes of a file from `start` on, as they come. */
  open(name: string, start: number, signal: AbortSignal): Promise<ReadableStream<Uint8Array<ArrayBuffer>>>;
  /** Whether trying again may help. */
  readonly retries: number;
}

/** A bundle below a URL: its folder, or its manifest. */
export class UrlSource implements Source {
  readonly retries = 4;
  private readonly base: URL;

  constructor(url: string | URL) {
    try {
      this.base = new URL(url, typeof location === "undefined" ? undefined : location.href);
    } catch {
      throw new OfaError("fetch", `not an address: ${String(url)}`);
    }
    this.base.pathname = this.base.pathname.replace(/\/manifest\.json$/, "/").replace(/[^/]$/, "$&/");
  }

  describe(name: string): string {
    return new URL(name, this.base).href;
  }

  async open(name: string, start: number, signal: AbortSignal): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const url = this.describe(name);
    const headers: HeadersInit = start > 0 ? { Range: `bytes=${start}-` } : {};
    let response: Response;
    try {
      response = await fetch(url, { signal, headers });
    } catch (error) {
      throwIfAborted(signal);
      throw new OfaError("fetch", `${url}: no answer (${String((error as Error).message)})`, { cause: error });
    }
    if (!response.ok || !response.body) {
      await response.body?.cancel().catch(() => undefined);
      throw new HttpError(response.status, `${url}: the server answered ${response.status} ${response.statusText}`);
    }
    // A server that does not know ranges sends everything: what is there already is passed over.
    return response.status === 206 ? response.body : skip(response.body, start);
  }
}

/** An answer of a server that is no file. */
export class HttpError extends OfaError {
  constructor(readonly status: number, message: string) {
    super("fetch", message);
  }
}

/** A bundle in files that the user picked. */
export class FileSource implements Source {
  readonly retries = 0;
  private readonly files: Map<string, File>;

  constructor(files: Iterable<File>) {
    this.files = new Map([...files].map((file) => [file.name, file]));
  }

  describe(name: string): string {
    return name;
  }

  async open(name: string, start: number): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const file = this.files.get(name);
    if (!file) throw new HttpError(404, `${name} is not among the ${this.files.size} files of the folder`);
    return file.slice(start).stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
  }
}

function skip(stream: ReadableStream<Uint8Array<ArrayBuffer>>, count: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  if (count === 0) return stream;
  let left = count;
  return stream.pipeThrough(new TransformStream({
    transform(bytes, controller) {
      const rest = bytes.subarray(Math.min(left, bytes.length));
      left -= bytes.length - rest.length;
      if (rest.length) controller.enqueue(rest);
    },
  }));
}
