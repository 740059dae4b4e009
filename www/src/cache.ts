/** Chunks of shards that were verified once, so that a second visit, or one after a cut, does not fetch them again. */

const NAME = "ofa-web-v1";
const PREFIX = "https://ofa-web.invalid/";

export type CacheMode = "auto" | "none";

/** A store keyed by SHA-256. Storage that fails or is full is no error: the network is always there. */
export class ChunkCache {
  private constructor(private readonly cache: Cache | undefined) {}

  static async open(mode: CacheMode): Promise<ChunkCache> {
    if (mode === "none" || typeof caches === "undefined") return new ChunkCache(undefined);
    return new ChunkCache(await caches.open(NAME).catch(() => undefined));
  }

  async get(hash: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const found = await this.cache?.match(PREFIX + hash).catch(() => undefined);
    return found && new Uint8Array(await found.arrayBuffer());
  }

  async has(hash: string): Promise<boolean> {
    return (await this.cache?.match(PREFIX + hash).catch(() => undefined)) !== undefined;
  }

  async put(hash: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.cache?.put(PREFIX + hash, new Response(bytes)).catch(() => undefined);
  }

  async delete(hash: string): Promise<boolean> {
    return (await this.cache?.delete(PREFIX + hash).catch(() => false)) ?? false;
  }
}
