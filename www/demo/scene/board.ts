// The canvas on which things are dragged, turned and resized: by mouse, by one or two fingers, by keys.
import type { Painter } from "./draw";
import { kept, type Scene, type Thing } from "./world";

/** A key press moves by this share of the side, turns by degrees, resizes by a factor. */
const STEP = 0.02;
const TURN = 5;
const GROWTH = 1.08;

export interface Changes {
  select(index: number | undefined): void;
  change(index: number, thing: Thing): void;
  remove(index: number): void;
}

type Point = [number, number];

export class Board {
  /** Fingers on the canvas, in shares of its side. */
  private readonly fingers = new Map<number, Point>();
  private scene: Scene | undefined;
  private selected: number | undefined;

  constructor(readonly canvas: HTMLCanvasElement, private readonly painter: Painter, private readonly changes: Changes) {
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"] as const) canvas.addEventListener(end, ({ pointerId }) => this.fingers.delete(pointerId));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  show(scene: Scene, selected: number | undefined): void {
    this.scene = scene;
    this.selected = selected;
    this.painter.draw(this.canvas, scene);
    const thing = this.thing;
    if (thing) this.frame(thing);
  }

  private get thing(): Thing | undefined {
    return this.selected === undefined ? undefined : this.scene?.things[this.selected];
  }

  private change(thing: Thing): void {
    if (this.selected !== undefined) this.changes.change(this.selected, kept(thing));
  }

  /** A frame around what is selected; it belongs to the board and not to the picture. */
  private frame({ x, y, radius, turn }: Thing): void {
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const side = this.canvas.width;
    context.setTransform(1, 0, 0, 1, x * side, y * side);
    context.rotate((turn * Math.PI) / 180);
    const half = radius * side + 3;
    for (const [style, dash] of [["#fff", []], ["#5b5bd6", [6, 4]]] as const) {
      context.strokeStyle = style;
      context.lineWidth = 2;
      context.setLineDash([...dash]);
      context.strokeRect(-half, -half, 2 * half, 2 * half);
    }
    context.setLineDash([]);
  }

  private at({ clientX, clientY }: PointerEvent): Point {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  }

  private down(event: PointerEvent): void {
    const point = this.at(event);
    this.fingers.set(event.pointerId, point);
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // A pointer that is gone already, or a made-up one of a test, cannot be captured.
    }
    if (this.fingers.size > 1 || !this.scene) return;
    const { things } = this.scene;
    const hit = things.findLastIndex((thing) => this.painter.covers(thing, ...point));
    this.changes.select(hit < 0 ? undefined : hit);
  }

  private move(event: PointerEvent): void {
    const before = this.fingers.get(event.pointerId);
    const thing = this.thing;
    if (!before || !thing) return;
    const now = this.at(event);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, now);
    if (!other) return this.change({ ...thing, x: thing.x + now[0] - before[0], y: thing.y + now[1] - before[1] });
    // Two fingers resize by their distance and turn by their direction.
    const [length, angle] = polar(other, before);
    const [newLength, newAngle] = polar(other, now);
    this.change({ ...thing, radius: (thing.radius * newLength) / Math.max(length, 0.01), turn: thing.turn + newAngle - angle });
  }

  private wheel(event: WheelEvent): void {
    const thing = this.thing;
    if (!thing) return;
    event.preventDefault();
    const up = event.deltaY < 0 || event.deltaX < 0;
    this.change(event.shiftKey ? { ...thing, turn: thing.turn + (up ? -TURN : TURN) } : { ...thing, radius: up ? thing.radius * GROWTH : thing.radius / GROWTH });
  }

  private key(event: KeyboardEvent): void {
    const thing = this.thing;
    if (!thing || this.selected === undefined) return;
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      return this.changes.remove(this.selected);
    }
    const changed: Record<string, Partial<Thing>> = {
      ArrowLeft: { x: thing.x - STEP }, ArrowRight: { x: thing.x + STEP }, ArrowUp: { y: thing.y - STEP }, ArrowDown: { y: thing.y + STEP },
      "+": { radius: thing.radius * GROWTH }, "=": { radius: thing.radius * GROWTH }, "-": { radius: thing.radius / GROWTH },
      "[": { turn: thing.turn - TURN }, "]": { turn: thing.turn + TURN },
    };
    const change = changed[event.key];
    if (!change) return;
    event.preventDefault();
    this.change({ ...thing, ...change });
  }
}

/** Length and degrees of the way from one point to another. */
function polar(from: Point, to: Point): Point {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  return [Math.hypot(dx, dy), (Math.atan2(dy, dx) * 180) / Math.PI];
}
