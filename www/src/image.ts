import { OfaError, describe, kindOf, throwIfAborted, unlessAborted } from "./errors.js";

/** An element of a page; none for programs of workers, whose types have no elements. */
type PageElement<Name extends string> = typeof globalThis extends Record<Name, { prototype: infer T }> ? T : never;

/**
 * Whatever shows a picture. A string is an address. As in the original, transparent pixels count with the colours that
 * files hold for them; where there is no WebGL, and in canvases, they are black.
 */
export type ImageInput =
  | string | URL | Blob | ImageData | ImageBitmap | VideoFrame | OffscreenCanvas
  | PageElement<"HTMLImageElement"> | PageElement<"HTMLCanvasElement"> | PageElement<"HTMLVideoElement">;

/** Pixels as the model takes them. */
export interface Rgba {
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
  /** Width and height that an element shows it with, which is fewer pixels where its `srcset` names a density. */
  natural?: readonly [number, number];
}

const MAX_PIXELS = 64 << 20;
/** Milliseconds between two looks at a video whose first frame is on its way. */
const LOOK = 30;
/** Two pixels to try canvases with; protection may leave out canvases of one colour. */
const TRIED = [40, 90, 160, 255, 210, 130, 20, 255];
/** Browsers may change channels by a little against fingerprinting; pictures stay what they are. */
const NOISE = 8;
/** Whether canvases of this realm gave back what was drawn on them. */
let faithful = false;

/**
 * Decodes an image, upright, its colours as the file has them, those of transparent pixels too. What can change or be closed
 * is read before this returns.
 */
export async function toRgba(image: ImageInput, signal?: AbortSignal): Promise<Rgba> {
  throwIfAborted(signal);
  return unlessAborted(read(image, signal), signal);
}

async function read(image: ImageInput, signal?: AbortSignal): Promise<Rgba> {
  switch (kindOf(image)) {
    case "String":
    case "URL":
      return readAddress(String(image), signal);
    case "Blob":
    case "File":
      return readFile(image as Blob);
    case "HTMLImageElement":
      return readElement(image as HTMLImageElement);
    case "ImageBitmap":
    case "ImageData":
      return readPixels(image as ImageBitmap | ImageData);
    case "HTMLVideoElement": {
      const video = image as HTMLVideoElement;
      if (video.readyState < video.HAVE_CURRENT_DATA) await firstFrame(video, signal);
      return draw(video, video.videoWidth, video.videoHeight);
    }
    case "VideoFrame": {
      const { displayWidth, displayHeight } = image as VideoFrame;
      return draw(image as VideoFrame, displayWidth, displayHeight);
    }
    case "HTMLCanvasElement":
    case "OffscreenCanvas": {
      const { width, height } = image as HTMLCanvasElement;
      return draw(image as HTMLCanvasElement, width, height);
    }
    default:
      throw new OfaError("image", `expected an image, found ${describe(image)}`);
  }
}

async function readAddress(url: string, signal: AbortSignal | undefined): Promise<Rgba> {
  try {
    return await readFile(await fetchBlob(url, signal));
  } catch (error) {
    throwIfAborted(signal);
    const { code, message } = OfaError.from(error);
    throw new OfaError(code, `${shortened(url)}: ${message}`, { cause: error });
  }
}

/** For messages; an address of the scheme `data` is the picture itself. */
function shortened(url: string): string {
  const most = url.startsWith("data:") ? 25 : 200;
  return url.length > most ? `${url.slice(0, most)}…` : url;
}

async function fetchBlob(url: string, signal: AbortSignal | undefined): Promise<Blob> {
  try {
    const response = await fetch(url, signal ? { signal } : {});
    if (!response.ok) throw new OfaError("fetch", `the server answered ${response.status} ${response.statusText}`);
    if (response.headers.get("Content-Type")?.startsWith("text/html")) {
      throw new OfaError("fetch", "expected a picture, found a web page; is the address right?");
    }
    return await response.blob();
  } catch (error) {
    if (error instanceof OfaError) throw error;
    throw new OfaError("fetch", `no answer (${OfaError.from(error).message})`, { cause: error });
  }
}

async function readFile(blob: Blob): Promise<Rgba> {
  if (blob.size === 0) throw new OfaError("image", "the file is empty");
  const file = await withType(blob);
  const element = await shown(file);
  // A file of a few bytes can claim any size, and elements read it long before they unpack the picture.
  if (element) checkSize(element.naturalWidth, element.naturalHeight);
  const svg = file.type.startsWith("image/svg");
  const pixels = svg ? element && drawElement(element) : await asStored(file);
  if (pixels) return pixels;
  const why = !svg ? "not a picture this browser can read"
    : typeof Image === "undefined" ? "an SVG is drawn only where there is a document"
    : "not a picture this browser can draw, or the page's content security policy does not allow `img-src blob:`";
  throw new OfaError("image", `${why} (${file.type || "unknown type"}, ${file.size} bytes)`);
}

/** Browsers tell what other pictures are by their first bytes, but not SVG. */
async function withType(file: Blob): Promise<Blob> {
  if (!/^($|(text|application)\/xml)/.test(file.type)) return file;
  return /<svg[\s>]/.test(await file.slice(0, 4096).text()) ? new Blob([file], { type: "image/svg+xml" }) : file;
}

/** A file in an element, where there is a document. What is wrong with it, whoever decodes it says better. */
async function shown(file: Blob): Promise<HTMLImageElement | undefined> {
  if (typeof Image === "undefined") return undefined;
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = address;
    });
    return image;
  } catch {
    return undefined;
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function readElement(element: HTMLImageElement): Promise<Rgba> {
  // Far down the page it would wait for somebody to scroll there.
  if (element.loading === "lazy") element.loading = "eager";
  await element.decode().catch(() => {
    throw new OfaError("image", `the <img> element has no picture to show, or was given another one (${element.currentSrc || "no address"})`);
  });
  const { naturalWidth, naturalHeight } = element;
  checkSize(naturalWidth, naturalHeight);
  return { ...((await asStored(element)) ?? drawElement(element)), natural: [naturalWidth, naturalHeight] };
}

async function readPixels(source: ImageBitmap | ImageData): Promise<Rgba> {
  const { width, height } = source;
  checkSize(width, height);
  const bytes = "data" in source && kindOf(source.data) === "Uint8ClampedArray" ? source.data : [];
  if (bytes.length > 0) return { width, height, data: new Uint8Array(bytes) };
  const pixels = await asStored(source);
  if (!pixels) throw new OfaError("image", `the ${describe(source)} has no pixels any more`);
  return pixels;
}

/** Waits for what a video shows first. */
async function firstFrame(video: HTMLVideoElement, signal: AbortSignal | undefined): Promise<void> {
  // It may have been told to load no more than its size.
  video.preload = "auto";
  const stream = video.srcObject;
  if (stream && kindOf(stream) === "MediaStream" && (stream as MediaStream).getVideoTracks().length === 0) {
    throw new OfaError("image", "the <video> element has no picture to show (its stream has no video track)");
  }
  while (video.readyState < video.HAVE_CURRENT_DATA) {
    // The source of one that was only just given is not looked at before.
    await new Promise((resolve) => setTimeout(resolve, LOOK));
    throwIfAborted(signal);
    if (video.error || video.networkState === video.NETWORK_EMPTY || video.networkState === video.NETWORK_NO_SOURCE) {
      throw new OfaError("image", `the <video> element has no picture to show (${video.error?.message || video.currentSrc || "no address"})`);
    }
  }
}

function checkSize(width: number, height: number): void {
  if (width === 0 || height === 0) throw new OfaError("image", "the picture is empty, or has not been loaded yet");
  if (width * height > MAX_PIXELS) {
    throw new OfaError("image", `${width} × ${height} pixels; at most ${MAX_PIXELS >> 20} million are read: make the picture smaller`);
  }
}

/** The pixels as they were stored, if a bitmap can be made of the source. */
async function asStored(source: Blob | ImageBitmap | ImageData | HTMLImageElement): Promise<Rgba | undefined> {
  const bitmap = await createImageBitmap(source, {
    imageOrientation: "from-image",
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  }).catch(() => undefined);
  if (!bitmap) return undefined;
  try {
    const drawn = draw(bitmap, bitmap.width, bitmap.height);
    return isOpaque(drawn) ? drawn : (throughTexture(bitmap) ?? drawn);
  } finally {
    bitmap.close();
  }
}

function isOpaque({ data }: Rgba): boolean {
  for (let alpha = 3; alpha < data.length; alpha += 4) if (data[alpha] !== 255) return false;
  return true;
}

/** The pixels of a bitmap with the colours of transparent ones, which 2D canvases forget, where WebGL takes one of its size. */
function throughTexture(bitmap: ImageBitmap): Rgba | undefined {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return undefined;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const data = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  const failed = gl.getError() !== gl.NO_ERROR;
  // A page has only a few contexts.
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return failed ? undefined : { width, height, data };
}

function drawElement(element: HTMLImageElement): Rgba {
  return draw(element, element.naturalWidth, element.naturalHeight);
}

/** Some browsers, and extensions of them, give pages noise instead of pixels, about which the model would answer all the same. */
function checkCanvas(): void {
  if (faithful) return;
  const context = new OffscreenCanvas(2, 1).getContext("2d", { willReadFrequently: true });
  if (!context) return;
  for (const at of [0, 1]) {
    context.fillStyle = `rgb(${TRIED.slice(4 * at, 4 * at + 3).join()})`;
    context.fillRect(at, 0, 1, 1);
  }
  try {
    const { data } = context.getImageData(0, 0, 2, 1);
    faithful = TRIED.every((value, at) => Math.abs(value - (data[at] ?? NaN)) <= NOISE);
  } catch {
    // Others let pages read nothing at all.
  }
  if (faithful) return;
  throw new OfaError(
    "image",
    "this browser scrambles or hides what pages read from pictures, as protection against fingerprinting; allow this site to use canvas data",
  );
}

function draw(source: CanvasImageSource, width: number, height: number): Rgba {
  checkSize(width, height);
  checkCanvas();
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
    throw new OfaError("image", "the picture comes from another site that does not allow reading it (CORS), or is an SVG with parts of a page", { cause: error });
  }
}
