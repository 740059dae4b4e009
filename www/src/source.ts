import { OfaError, throwIfAborted } from "./errors.js";

/** The folder of a bundle that holds the model of image codes. It has a manifest of its own. */
export const CODES = "vqgan";

/** Where a bundle's files come from. */
export interface Source {
  /** For messages, and to know the bundle by. */
  describe(name: string): string;
  /** The bytes of a file from `start` on, as they come. `cache` is for the browser's own, which may hold a file of before. */
  open(name: string, start: number, signal: AbortSignal, cache?: RequestCache): Promise<ReadableStream<Uint8Array<ArrayBuffer>>>;
  /** Whether trying again may help. */
  readonly retries: number;
  /** The files of a folder inside. */
  folder(name: string): Source;
}

/** A bundle below a URL: its folder, or its manifest. */
export class UrlSource implements Source {
  readonly retries = 4;
  private readonly base: URL;
  /** A signature or a version, which all files of the bundle share. */
  private readonly query: string;

  constructor(url: string | URL) {
    try {
      this.base = new URL(url, typeof document === "undefined" ? globalThis.location?.href : document.baseURI);
    } catch {
      throw new OfaError("fetch", `not an address: ${String(url)}`);
    }
    this.base.pathname = this.base.pathname.replace(/\/manifest\.json$/, "/").replace(/[^/]$/, "$&/");
    this.query = this.base.search;
    this.base.search = "";
  }

  /** Without the query: a signature is for no log, and another one does not make another bundle. */
  describe(name: string): string {
    return new URL(name, this.base).href;
  }

  address(name: string): string {
    return this.describe(name) + this.query;
  }

  folder(name: string): Source {
    return new UrlSource(this.address(`${name}/`));
  }

  async open(
    name: string,
    start: number,
    signal: AbortSignal,
    cache: RequestCache = "default",
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const url = this.describe(name);
    const headers: HeadersInit = start > 0 ? { Range: `bytes=${start}-` } : {};
    let response: Response;
    try {
      response = await fetch(this.address(name), { signal, headers, cache });
    } catch (error) {
      throwIfAborted(signal);
      throw new OfaError("fetch", `${url}: no answer (${String((error as Error).message)})`, { cause: error });
    }
    if (!response.ok || !response.body) {
      await response.body?.cancel().catch(() => undefined);
      throw new HttpError(response.status, `${url}: the server answered ${response.status} ${response.statusText}`);
    }
    if (response.headers.get("content-type")?.startsWith("text/html")) {
      await response.body.cancel().catch(() => undefined);
      // So the server of an app of one page answers for what is not there.
      throw new HttpError(NOT_FOUND, `${url}: expected a file of a bundle, found a web page; is the address right?`);
    }
    // A server that does not know ranges sends everything: what is there already is passed over.
    return response.status === 206 ? response.body : skip(response.body, start);
  }
}

export const NOT_FOUND = 404;

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

  /** Of what was picked, the files whose innermost folder is `inside`; at the top, those that are not in one of a bundle's. */
  constructor(private readonly picked: readonly File[], private readonly inside?: string) {
    const folderOf = (file: File) => file.webkitRelativePath.split("/").at(-2);
    const here = picked.filter((file) => (inside ? folderOf(file) === inside : folderOf(file) !== CODES));
    this.files = new Map(here.map((file) => [file.name, file]));
  }

  folder(name: string): Source {
    return new FileSource(this.picked, name);
  }

  describe(name: string): string {
    return this.inside ? `${this.inside}/${name}` : name;
  }

  async open(name: string, start: number): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const file = this.files.get(name);
    if (!file) throw new HttpError(NOT_FOUND, `${this.describe(name)} is not among the ${this.picked.length} files of the folder`);
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
