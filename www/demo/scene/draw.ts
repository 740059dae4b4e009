// Scenes on a canvas, drawn as the generator draws them: patterned backgrounds, shapes with a rim, stickers.
import { find, type Scene, type Thing, type World } from "./world";

/** Cells of a pattern's tile; the generator's. */
const TILE = 16;
/** A drawing's square goes from -1 to 1. */
const WHOLE = 2;

export class Painter {
  private readonly paths: Map<string, Path2D>;
  private readonly stickers = new Map<string, HTMLImageElement>();
  private readonly tiles = new Map<string, HTMLCanvasElement>();

  private constructor(private readonly world: World) {
    this.paths = new Map(world.shapes.map(({ word, drawing }) => [word, new Path2D(drawing)]));
  }

  /** With every sticker decoded, so that drawing never waits. */
  static async load(world: World): Promise<Painter> {
    const painter = new Painter(world);
    await Promise.all(world.stickers.map(async ({ word, drawing }) => {
      const image = new Image();
      image.src = `data:image/svg+xml,${encodeURIComponent(drawing)}`;
      await image.decode();
      painter.stickers.set(word, image);
    }));
    return painter;
  }

  draw(canvas: HTMLCanvasElement, { ground, pattern, things }: Scene): void {
    const context = canvas.getContext("2d");
    if (!context) return;
    const side = canvas.width;
    const { main, second } = find(this.world.grounds, ground);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.filled(context, pattern, main, second, side / (this.world.groundRepeats * TILE));
    context.fillRect(0, 0, side, side);
    for (const thing of things) this.thing(context, thing, side);
  }

  /** Whether a point of the picture belongs to a thing. */
  covers(thing: Thing, x: number, y: number): boolean {
    const [sin, cos] = [Math.sin((thing.turn * Math.PI) / 180), Math.cos((thing.turn * Math.PI) / 180)];
    const [dx, dy] = [(x - thing.x) / thing.radius, (y - thing.y) / thing.radius];
    const [u, v] = [dx * cos + dy * sin, dy * cos - dx * sin];
    // Rings and crescents are caught by their holes, too: a finger is wide.
    return Math.max(Math.abs(u), Math.abs(v)) <= 1;
  }

  /** A sticker or a shape by itself, for a button. */
  icon(thing: Thing, side: number): HTMLCanvasElement {
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const context = canvas.getContext("2d");
    if (context) this.thing(context, { ...thing, x: 0.5, y: 0.5, radius: 0.46, turn: 0 }, side);
    return canvas;
  }

  private thing(context: CanvasRenderingContext2D, thing: Thing, side: number): void {
    const { x, y, radius, turn } = thing;
    const scale = radius * side;
    context.setTransform(scale, 0, 0, scale, x * side, y * side);
    context.rotate((turn * Math.PI) / 180);
    if (thing.kind === "sticker") {
      const image = this.stickers.get(thing.word);
      context.imageSmoothingQuality = "high";
      if (image) context.drawImage(image, -1, -1, WHOLE, WHOLE);
      return;
    }
    const path = this.paths.get(thing.word);
    if (!path) return;
    const { main, second } = find(this.world.colours, thing.colour);
    context.fillStyle = this.filled(context, thing.pattern ?? "plain", main, second, this.world.shapeRepeat / TILE);
    context.fill(path, "evenodd");
    // Drawn smaller, so that the rim's outer half stays within the shape's box.
    const inner = 1 - this.world.rim / 2;
    context.scale(inner, inner);
    context.lineWidth = this.world.rim;
    context.lineJoin = "round";
    context.strokeStyle = darker(main);
    context.stroke(path);
  }

  /** A colour, or a repeated tile whose cells are `cell` long. */
  private filled(context: CanvasRenderingContext2D, pattern: string, main: string, second: string, cell: number): string | CanvasPattern {
    if (pattern === "plain") return main;
    const key = `${pattern} ${main} ${second}`;
    const tile = this.tiles.get(key) ?? tileOf(pattern, main, second);
    this.tiles.set(key, tile);
    const repeated = context.createPattern(tile, "repeat");
    repeated?.setTransform(new DOMMatrix([cell, 0, 0, cell, 0, 0]));
    return repeated ?? main;
  }
}

function tileOf(pattern: string, main: string, second: string): HTMLCanvasElement {
  const canvas = Object.assign(document.createElement("canvas"), { width: TILE, height: TILE });
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const half = TILE / 2;
  const isSecond: Record<string, (x: number, y: number) => boolean> = {
    striped: (x) => x < half,
    checked: (x, y) => x < half === y < half,
    dotted: (x, y) => (x + 0.5 - half) ** 2 + (y + 0.5 - half) ** 2 < (0.33 * TILE) ** 2,
  };
  for (let y = 0; y < TILE; y++) {
    for (let x = 0; x < TILE; x++) {
      context.fillStyle = isSecond[pattern]?.(x, y) ? second : main;
      context.fillRect(x, y, 1, 1);
    }
  }
  return canvas;
}

/** The rim's share of a shape's brightness. */
const RIM_BRIGHTNESS = 0.72;

function darker(colour: string): string {
  const channels = [1, 3, 5].map((at) => Math.round(parseInt(colour.slice(at, at + 2), 16) * RIM_BRIGHTNESS));
  return `rgb(${channels.join(" ")})`;
}
