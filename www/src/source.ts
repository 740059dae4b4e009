import { OfaError, throwIfAborted } from "./errors.js";

/** The folder of a bundle that holds the model of image codes. It has a manifest of its own. */
export const CODES = "vqgan";

/** Where a bundle's files come from. */
export interface Source {
  /** For messages, and to know the bundle by. */
  describe(name: string): string;
  /**
   * The bytes of a file from `start` on, as they come. `cache` is for the browser's own, which may hold a file of before.
   * With `whole` a server is asked for all of the file, and what comes before `start` is passed over.
   */
  open(name: string, start: number, signal: AbortSignal, cache?: RequestCache, whole?: boolean): Promise<ReadableStream<Uint8Array<ArrayBuffer>>>;
  /** Whether trying again may help. */
  readonly retries: number;
  /** The files of a folder inside. */
  folder(name: string): Source;
}

/** A bundle below a URL: its folder, or its manifest. */
export class UrlSource implements Source {
  private readonly base: URL;
  /** A signature or a version, which all files of the bundle share. */
  private readonly query: string;

  constructor(url: string | URL, readonly retries = 4) {
    try {
      this.base = new URL(url, typeof document === "undefined" ? globalThis.location?.href : document.baseURI);
      // `localhost:8080/x/` is read as something of the scheme `localhost`, in which there are no files.
      new URL("manifest.json", this.base);
    } catch {
      const [address] = String(url).split("?");
      throw new OfaError("fetch", `${address}: expected an address that begins with https:// or http://, or a relative one`);
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
    whole = false,
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const url = this.describe(name);
    const headers: HeadersInit = start > 0 && !whole ? { Range: `bytes=${start}-` } : {};
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
    return skip(response.body, start - beginning(response, start));
  }
}

/** Where in the file an answer to the range from `asked` on begins, as far as the server tells: to other origins it may not. */
function beginning({ status, headers }: Response, asked: number): number {
  return status === 206 ? Number(/^bytes (\d+)-/.exec(headers.get("content-range") ?? "")?.[1] ?? asked) : 0;
}

export const NOT_FOUND = 404;

/** An answer of a server that is no file. */
export class HttpError extends OfaError {
  constructor(readonly status: number, message: string) {
    super("fetch", message);
  }
}

/** A file and its path, from the folder that was picked or from the bundle's. */
export type FileAt = readonly [path: string, file: Blob];

/** A bundle in files that the user picked. */
export class FileSource implements Source {
  readonly retries = 0;

  constructor(private readonly files: readonly FileAt[], private readonly base = folderOfBundle(files)) {}

  folder(name: string): Source {
    return new FileSource(this.files, `${this.describe(name)}/`);
  }

  describe(name: string): string {
    return this.base + name;
  }

  async open(name: string, start: number): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const path = this.describe(name);
    const file = this.files.find((one) => one[0] === path)?.[1];
    if (!file) throw new HttpError(NOT_FOUND, `${path} is not among the ${this.files.length} files of the folder`);
    return file.slice(start).stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
  }
}

/** Where the outermost manifest is. */
function folderOfBundle(files: readonly FileAt[]): string {
  const depth = (path: string) => path.split("/").length;
  const manifests = files.map(([path]) => path).filter((path) => /(^|\/)manifest\.json$/.test(path));
  const [first = "", second] = manifests.sort((a, b) => depth(a) - depth(b));
  if (second && depth(first) === depth(second)) {
    const advice = "pass files that do not know their folder as [path, file]";
    throw new OfaError("option", `files: expected those of one bundle, found ${first} and ${second}; ${advice}`);
  }
  return first.slice(0, first.lastIndexOf("/") + 1);
}

function skip(stream: ReadableStream<Uint8Array<ArrayBuffer>>, count: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  if (count <= 0) return stream;
  let left = count;
  return stream.pipeThrough(new TransformStream({
    transform(bytes, controller) {
      const rest = bytes.subarray(Math.min(left, bytes.length));
      left -= bytes.length - rest.length;
      if (rest.length) controller.enqueue(rest);
    },
  }));
}
