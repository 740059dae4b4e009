import { OfaError, throwIfAborted } from "./errors.js";

/** Whatever shows a picture. A string is an address. */
export type ImageInput =
  | string | URL | Blob | ImageData | ImageBitmap | VideoFrame
  | HTMLImageElement | HTMLCanvasElement | HTMLVideoElement | OffscreenCanvas;

/** Pixels as the model takes them. */
export interface Rgba {
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

const MAX_PIXELS = 64 << 20;

/** Decodes an image, upright, its colours as the file has them. */
export async function toRgba(image: ImageInput, signal?: AbortSignal): Promise<Rgba> {
  throwIfAborted(signal);
  if (!isPicture(image)) throw new OfaError("image", `expected an image, found ${describe(image)}`);
  if (isA(image, "ImageData")) {
    const { width, height, data } = image as ImageData;
    return { width, height, data: new Uint8Array(data) };
  }
  if (typeof image === "string" || image instanceof URL) return toRgba(await fetchBlob(String(image), signal), signal);
  if (isA(image, "HTMLImageElement")) {
    const element = image as HTMLImageElement;
    await element.decode().catch(() => {
      throw new OfaError("image", `the <img> element has no picture to show (${element.currentSrc || "no address"})`);
    });
    return draw(element, element.naturalWidth, element.naturalHeight);
  }
  if (isA(image, "HTMLVideoElement")) {
    const { videoWidth, videoHeight } = image as HTMLVideoElement;
    return draw(image as HTMLVideoElement, videoWidth, videoHeight);
  }
  if (isA(image, "VideoFrame")) {
    const { displayWidth, displayHeight } = image as VideoFrame;
    return draw(image as VideoFrame, displayWidth, displayHeight);
  }
  if (image instanceof Blob) {
    const claimed = await headerSize(image);
    if (claimed) checkSize(claimed.width, claimed.height);
    const bitmap = await createImageBitmap(image, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "none",
    }).catch((error: unknown) => {
      const what = image.size === 0 ? "the file is empty" : `not a picture this browser can read (${image.type || "unknown type"}, ${image.size} bytes)`;
      throw new OfaError("image", what, { cause: error });
    });
    try {
      throwIfAborted(signal);
      return draw(bitmap, bitmap.width, bitmap.height);
    } finally {
      bitmap.close();
    }
  }
  const { width, height } = image as ImageBitmap;
  return draw(image as ImageBitmap, width, height);
}

async function fetchBlob(url: string, signal: AbortSignal | undefined): Promise<Blob> {
  try {
    const response = await fetch(url, signal ? { signal } : {});
    if (!response.ok) throw new OfaError("fetch", `${url}: the server answered ${response.status} ${response.statusText}`);
    return await response.blob();
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof OfaError) throw error;
    throw new OfaError("fetch", `${url}: no answer (${OfaError.from(error).message})`, { cause: error });
  }
}

/** A file of a few bytes can claim any size. `<img>` elements read the header long before they unpack the picture. */
async function headerSize(blob: Blob): Promise<{ width: number; height: number } | undefined> {
  if (typeof Image === "undefined") return undefined;
  const address = URL.createObjectURL(blob);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = address;
    });
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    // What is wrong with it, whoever decodes it says better.
    return undefined;
  } finally {
    URL.revokeObjectURL(address);
  }
}

function checkSize(width: number, height: number): void {
  if (width === 0 || height === 0) throw new OfaError("image", "the picture is empty, or has not been loaded yet");
  if (width * height > MAX_PIXELS) {
    throw new OfaError("image", `${width} × ${height} pixels; at most ${MAX_PIXELS >> 20} million are read: make the picture smaller`);
  }
}

function draw(source: CanvasImageSource, width: number, height: number): Rgba {
  checkSize(width, height);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new OfaError("image", `no canvas of ${width} × ${height} pixels to be had`);
  try {
    context.drawImage(source, 0, 0);
  } catch (error) {
    throw new OfaError("image", `${describe(source)} shows no picture: ${OfaError.from(error).message}`, { cause: error });
  }
  try {
    return { width, height, data: new Uint8Array(context.getImageData(0, 0, width, height).data) };
  } catch (error) {
    throw new OfaError("image", "the picture comes from another site that does not allow reading it (CORS)", { cause: error });
  }
}

/** An address, a file, or what has a width. */
function isPicture(value: unknown): boolean {
  if (typeof value === "string" || value instanceof URL || value instanceof Blob) return true;
  return typeof value === "object" && value !== null && ("width" in value || "displayWidth" in value);
}

/** `instanceof` for classes that a worker may not have. */
function isA(value: unknown, name: string): boolean {
  const type = (globalThis as Record<string, unknown>)[name];
  return typeof type === "function" && value instanceof type;
}

function describe(value: unknown): string {
  return value === null ? "null" : typeof value === "object" ? (value as object).constructor?.name ?? "object" : typeof value;
}
