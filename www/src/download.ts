import { manifestKey, type ChunkCache } from "./cache.js";
import { OfaError, aborted, throwIfAborted } from "./errors.js";
import { CHUNK, isShard, parseManifest, type FileEntry, type Manifest } from "./manifest.js";
import { HttpError, NOT_FOUND, type Source } from "./source.js";
import type { Phase, Progress } from "./types.js";

/** Shards on their way at one time: enough to fill the line, few enough that the heap never holds the model. */
const PARALLEL = 3;
const FIRST_PAUSE_MS = 250;
const SMALL_FILES = ["config.json", "tokenizer.json", "generation_config.json"];

export interface SmallFiles {
  config: string;
  tokenizer: string;
  generation: string | undefined;
}

export interface DownloadOptions {
  source: Source;
  cache: ChunkCache;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

/** Fetches a bundle's manifest. */
export function fetchManifest(source: Source, cache: ChunkCache, signal: AbortSignal): Promise<Manifest> {
  return manifestOf(source, ["config.json", "tokenizer.json"], cache, signal);
}

/** Fetches the manifest of a bundle's image codes. */
export async function fetchCodesManifest(source: Source, cache: ChunkCache, signal: AbortSignal): Promise<Manifest> {
  try {
    return await manifestOf(source, ["config.json"], cache, signal);
  } catch (error) {
    if (!(error instanceof HttpError) || error.status !== NOT_FOUND) throw error;
    throw new OfaError("file", `${source.describe("manifest.json")} is not there: this bundle has no image codes`, { cause: error });
  }
}

function manifestOf(source: Source, needed: readonly string[], cache: ChunkCache, signal: AbortSignal): Promise<Manifest> {
  const parse = (bytes: Uint8Array) => parseManifest(new TextDecoder().decode(bytes), source.describe("manifest.json"), needed);
  return withRetries(source, signal, async () => {
    try {
      // Whether it changed is asked every time: all the rest is judged by it.
      return parse(await readAll(source, "manifest.json", signal, "no-cache"));
    } catch (error) {
      throwIfAborted(signal);
      if (isFinal(error)) throw error;
      // Without a network the one of before does, if all that it lists is at hand.
      const kept = await cache.get(manifestKey(source.describe(""))).then((bytes) => bytes && parse(bytes));
      if (kept && (await isComplete(kept, cache))) return kept;
      throw error;
    }
  });
}

/** Fetches and verifies the small files that the model needs before its first shard. */
export async function fetchSmallFiles(manifest: Manifest, options: DownloadOptions): Promise<SmallFiles> {
  // What is put into the cache from here on is known, so that it can be cleared.
  await options.cache.expect(options.source.describe(""), hashes(manifest));
  const text = async (name: string) => {
    const entry = manifest.files.find((file) => file.name === name);
    if (!entry) return undefined;
    const kept = await options.cache.get(entry.sha256);
    if (kept && (await sha256(kept)) === entry.sha256) return new TextDecoder().decode(kept);
    const bytes = await withRetries(options.source, options.signal, async (cache) => {
      const bytes = await readAll(options.source, name, options.signal, cache, entry.size);
      if (bytes.length === entry.size && (await sha256(bytes)) === entry.sha256) return bytes;
      const found = bytes.length === entry.size ? "other bytes than" : `${bytes.length} bytes, where ${entry.size} are what`;
      throw new OfaError("integrity", `${options.source.describe(name)}: ${found} the manifest promises`);
    });
    await options.cache.put(entry.sha256, bytes);
    return new TextDecoder().decode(bytes);
  };
  const [config, tokenizer, generation] = await Promise.all(SMALL_FILES.map(text));
  return { config: config ?? "", tokenizer: tokenizer ?? "", generation };
}

/**
 * Fetches the shards, several at a time, and hands them over one by one in the manifest's order. Every megabyte is
 * verified as it arrives; a cut download goes on behind the last one that was. Until all are there, the cache keeps what
 * the bundle was before.
 */
export async function fetchShards(
  manifest: Manifest,
  options: DownloadOptions,
  take: (file: FileEntry, bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>,
): Promise<void> {
  const shards = manifest.files.filter(isShard);
  const bundle = options.source.describe("");
  const total = manifest.totalBytes;
  // The small files came before.
  let loaded = shards.reduce((rest, file) => rest - file.size, total);
  const report = (phase: Phase, file: FileEntry) => options.onProgress({ phase, loaded, total, file: file.name });
  // One shard that fails ends the others.
  const inner = new AbortController();
  const signal = AbortSignal.any([options.signal, inner.signal]);
  const start = (file: FileEntry) => {
    let most = 0;
    const got = (count: number) => {
      // What came after the last verified byte of a cut download comes again.
      if (count <= most) return;
      loaded += count - most;
      most = count;
      report("download", file);
    };
    const promise = fetchShard(file, { ...options, signal }, got);
    promise.catch(() => undefined);
    return promise;
  };
  const queue: Promise<Uint8Array<ArrayBuffer>>[] = [];
  let next = 0;
  try {
    for (const file of shards) {
      while (next < shards.length && queue.length < PARALLEL) queue.push(start(shards[next++] as FileEntry));
      const bytes = await (queue.shift() as Promise<Uint8Array<ArrayBuffer>>);
      throwIfAborted(options.signal);
      await take(file, bytes);
      report("upload", file);
    }
  } catch (error) {
    inner.abort();
    throw options.signal.aborted ? aborted(options.signal) : error;
  }
  await options.cache.put(manifestKey(bundle), new TextEncoder().encode(manifest.text));
  await options.cache.keepOnly(bundle, hashes(manifest));
}

/** Whether all that loading reads of a bundle is in the cache. */
export async function isCached(source: Source, cache: ChunkCache, signal: AbortSignal): Promise<boolean> {
  try {
    return await isComplete(await fetchManifest(source, cache, signal), cache);
  } catch (error) {
    // Without an answer only a bundle that is all there counts.
    if (error instanceof OfaError && error.code === "fetch" && !(error instanceof HttpError)) return false;
    throw error;
  }
}

async function isComplete(manifest: Manifest, cache: ChunkCache): Promise<boolean> {
  for (const hash of hashes(manifest)) if (!(await cache.has(hash))) return false;
  return true;
}

/** What the cache keeps of a bundle by. */
function hashes({ files }: Manifest): string[] {
  return files.flatMap((file) => (SMALL_FILES.includes(file.name) ? [file.sha256] : file.chunks));
}

async function fetchShard(
  file: FileEntry,
  { source, cache, signal }: DownloadOptions,
  got: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(file.size);
  let verified = 0;
  const fromCache = async () => {
    while (verified < file.size) {
      const chunk = await cache.get(file.chunks[verified / CHUNK] as string);
      const length = Math.min(CHUNK, file.size - verified);
      if (chunk?.length !== length || (await sha256(chunk)) !== file.chunks[verified / CHUNK]) return;
      throwIfAborted(signal);
      bytes.set(chunk, verified);
      verified += length;
      got(verified);
    }
  };
  await fromCache();
  await withRetries(source, signal, async (mode, last) => {
    if (verified === file.size) return;
    // A server may answer every range with other bytes.
    const reader = (await source.open(file.name, verified, signal, mode, last)).getReader();
    let filled = verified;
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((error: unknown) => {
          throw cutOff(source, file.name, filled, file.size, error);
        });
        throwIfAborted(signal);
        if (done) break;
        if (filled + value.length > file.size) {
          throw new OfaError("integrity", `${source.describe(file.name)}: longer than the ${file.size} bytes promised`);
        }
        bytes.set(value, filled);
        filled += value.length;
        got(filled);
        while (verified < file.size && filled >= Math.min(verified + CHUNK, file.size)) {
          const index = verified / CHUNK;
          const chunk = bytes.slice(verified, Math.min(verified + CHUNK, file.size));
          if ((await sha256(chunk)) !== file.chunks[index]) {
            throw new OfaError(
              "integrity",
              `${source.describe(file.name)}: megabyte ${index + 1} of ${file.chunks.length} is not what the manifest promises`,
            );
          }
          await cache.put(file.chunks[index] as string, chunk);
          verified += chunk.length;
        }
      }
    } finally {
      reader.cancel().catch(() => undefined);
    }
    if (verified < file.size) throw cutOff(source, file.name, filled, file.size);
  }, () => verified);
  return bytes;
}

function cutOff(source: Source, name: string, filled: number, size: number | undefined, cause?: unknown): OfaError {
  const why = cause ? ` (${OfaError.from(cause).message})` : "";
  const of = size === undefined ? "" : ` of ${size}`;
  return new OfaError("fetch", `${source.describe(name)}: cut off after ${filled}${of} bytes${why}`, { cause });
}

/**
 * Tries again what may come right, and begins to count anew when it came further. Where bytes were not those promised,
 * the browser's own cache is passed by.
 */
async function withRetries<T>(
  source: Source,
  signal: AbortSignal,
  attempt: (cache: RequestCache, last: boolean) => Promise<T>,
  progress = () => 0,
): Promise<T> {
  let cache: RequestCache = "default";
  let reached = progress();
  for (let tried = 0; ; tried++) {
    try {
      return await attempt(cache, tried >= source.retries);
    } catch (error) {
      throwIfAborted(signal);
      if (error instanceof OfaError && error.code === "integrity") cache = "reload";
      if (progress() > reached) [tried, reached] = [0, progress()];
      if (isFinal(error) || tried >= source.retries) throw OfaError.from(error, "fetch");
      await pause(FIRST_PAUSE_MS * 2 ** tried, signal);
    }
  }
}

/** Whether there is an answer, which will be no other the next time. */
function isFinal(error: unknown): boolean {
  if (error instanceof HttpError) return error.status < 500 && error.status !== 429;
  return error instanceof OfaError && error.code === "manifest";
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      signal.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      clearTimeout(timer);
      reject(aborted(signal));
    }
    signal.addEventListener("abort", stop, { once: true });
  });
}

async function readAll(
  source: Source,
  name: string,
  signal: AbortSignal,
  cache: RequestCache,
  size?: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const limit = size ?? 64 << 20;
  const reader = (await source.open(name, 0, signal, cache)).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw cutOff(source, name, length, size, error);
    });
    if (done) break;
    length += value.length;
    if (length > limit) {
      reader.cancel().catch(() => undefined);
      throw new OfaError("integrity", `${source.describe(name)}: longer than the ${limit} bytes expected`);
    }
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** @throws OfaError `unsupported` where nothing can be verified. */
export function requireHashing(): void {
  if (globalThis.crypto?.subtle) return;
  throw new OfaError("unsupported", "weights can be verified only on https pages or localhost (crypto.subtle is missing)");
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
