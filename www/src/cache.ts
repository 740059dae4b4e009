/** What was verified once, so that a second visit, or one after a cut, does not fetch it again. */

const NAME = "ofa-web-v1";
const PREFIX = "https://ofa-web.invalid/";

export type CacheMode = "auto" | "none";

/** Under what the parts of a bundle are listed. */
const listOf = (bundle: string) => `${PREFIX}bundle?${encodeURIComponent(bundle)}`;

/** The key of a bundle's manifest, the one part that nothing has a hash of. */
export const manifestKey = (bundle: string) => `manifest?${encodeURIComponent(bundle)}`;

/** A store keyed by SHA-256. Storage that fails or is full is no error: the network is always there. */
export class ChunkCache {
  private constructor(private readonly cache: Cache | undefined) {}

  static async open(mode: CacheMode): Promise<ChunkCache> {
    try {
      return new ChunkCache(mode === "none" ? undefined : await caches.open(NAME));
    } catch {
      // Pages without https have none, and a frame without an origin may not even name it.
      return new ChunkCache(undefined);
    }
  }

  async get(hash: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const found = await this.cache?.match(PREFIX + hash).catch(() => undefined);
    return found?.arrayBuffer().then((bytes) => new Uint8Array(bytes), () => undefined);
  }

  async has(hash: string): Promise<boolean> {
    return (await this.cache?.match(PREFIX + hash).catch(() => undefined)) !== undefined;
  }

  async put(hash: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.cache?.put(PREFIX + hash, new Response(bytes)).catch(() => undefined);
  }

  /** Notes parts that the bundle at an address is about to have, beside those that it has. */
  async expect(bundle: string, hashes: readonly string[]): Promise<void> {
    await this.list(bundle, [...new Set([...(await this.read(listOf(bundle))), ...hashes])]);
  }

  /** Notes what parts the bundle at an address has, and removes those that it had before and that no other has. */
  async keepOnly(bundle: string, hashes: readonly string[]): Promise<void> {
    const before = await this.read(listOf(bundle));
    await this.list(bundle, hashes);
    const kept = new Set(hashes);
    if (before.every((hash) => kept.has(hash))) return;
    for (const { url } of (await this.cache?.keys().catch(() => [])) ?? []) {
      if (url.startsWith(listOf(""))) for (const hash of await this.read(url)) kept.add(hash);
    }
    await Promise.all(before.filter((hash) => !kept.has(hash)).map((hash) => this.cache?.delete(PREFIX + hash).catch(() => false)));
  }

  /** Removes the parts of the bundle at an address, but for those that another has too. */
  async forget(bundle: string): Promise<void> {
    await this.keepOnly(bundle, []);
    for (const key of [listOf(bundle), PREFIX + manifestKey(bundle)]) await this.cache?.delete(key).catch(() => false);
  }

  private async list(bundle: string, hashes: readonly string[]): Promise<void> {
    await this.cache?.put(listOf(bundle), new Response(JSON.stringify(hashes))).catch(() => undefined);
  }

  private async read(list: string): Promise<string[]> {
    const found = await this.cache?.match(list).catch(() => undefined);
    return found ? ((await found.json().catch(() => [])) as string[]) : [];
  }
}
