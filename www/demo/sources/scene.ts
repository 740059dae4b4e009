import { make } from "../dom";
import { Board } from "../scene/board";
import { Painter } from "../scene/draw";
import { MOST_TURNED, RADII, fromKey, kept, loadWorld, name, place, toKey, type Scene, type Thing, type World } from "../scene/world";
import type { Picture, Source } from "./source";

/** Pixels of a picture's side: several times what the model sees, so that it is shown crisp. */
const SIDE = 256;
/** Milliseconds without a change after which the picture is handed over. */
const PAUSE = 200;

/** Something to begin with. */
const FIRST: Scene = {
  ground: "beige", pattern: "plain",
  things: [
    { kind: "shape", word: "circle", colour: "red", pattern: "plain", x: 0.28, y: 0.34, radius: 0.15, turn: 0 },
    { kind: "sticker", word: "fox", x: 0.68, y: 0.66, radius: 0.2, turn: 0 },
  ],
};

let first: Scene = FIRST;
let maker: Maker | undefined;
let entered: () => void = () => undefined;
let drawing: Promise<{ world: World; painter: Painter }> | undefined;

/** What scenes are drawn with, fetched once they are wanted. */
function tools(): Promise<{ world: World; painter: Painter }> {
  drawing ??= loadWorld().then(async (world) => ({ world, painter: await Painter.load(world) }));
  drawing.catch(() => (drawing = undefined));
  return drawing;
}

async function picture(painter: Painter, scene: Scene, untouched = false): Promise<Picture> {
  const canvas = make("canvas", { width: SIDE, height: SIDE });
  painter.draw(canvas, scene);
  const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done));
  if (!blob) throw new Error("the browser made no picture of the scene");
  const things = scene.things.map(name).join(", ");
  return { blob, name: `a scene of ${things || "nothing"}`, file: "scene.png", key: toKey(scene), ofScenes: true, live: true, untouched };
}

/** A canvas to put shapes and stickers on. */
export const scene: Source = {
  id: "scene",
  label: "Make a scene",
  mount(room, choose) {
    room.append(make("p", { className: "small", textContent: "Put a few things on the picture, move them, and ask: the answer follows." }));
    // Its drawings are fetched when somebody comes.
    entered = () => {
      choose(tools().then(({ world, painter }) => {
        maker ??= new Maker(room, world, painter, choose);
        return maker.picture();
      }));
    };
  },
  enter: () => entered(),
  async restore(key) {
    const { world, painter } = await tools();
    const wanted = fromKey(world, key);
    if (!wanted) throw new Error("the link holds no scene of this world");
    if (maker) maker.restore(wanted);
    else first = wanted;
    return picture(painter, wanted);
  },
};

/** The board, the list of what is on it, and the controls of both. */
class Maker {
  private scene: Scene = first;
  private selected: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private untouched = true;
  private readonly board: Board;
  private readonly list = make("ul", { className: "things", ariaLabel: "Things on the picture, from the back to the front" });
  private readonly controls = make("div", { className: "row things-controls", role: "group", ariaLabel: "The selected thing" });
  private readonly adding: HTMLButtonElement[] = [];
  private readonly backgrounds = new Map<"ground" | "pattern", HTMLSelectElement>();
  private readonly full = make("p", { className: "small", role: "status" });

  constructor(room: HTMLElement, private readonly world: World, private readonly painter: Painter, private readonly choose: (picture: Promise<Picture>) => void) {
    const canvas = make("canvas", { className: "board", width: SIDE, height: SIDE, tabIndex: 0, role: "img" });
    canvas.setAttribute("aria-label", "The scene. Select a thing in the list; arrow keys move it, plus and minus resize it, brackets turn it, Delete takes it away.");
    this.board = new Board(canvas, painter, {
      select: (index) => this.select(index),
      change: (index, thing) => this.change(index, thing),
      remove: (index) => this.remove(index),
    });
    room.append(canvas, this.list, this.controls, this.full, this.shapes(), this.stickers(), this.background());
    this.update();
  }

  restore(wanted: Scene): void {
    this.scene = wanted;
    this.untouched = false;
    this.selected = undefined;
    this.update();
  }

  /** The scene as it is now. */
  picture(): Promise<Picture> {
    clearTimeout(this.timer);
    return picture(this.painter, this.scene, this.untouched);
  }

  private changed(): void {
    this.untouched = false;
    this.update();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.choose(this.picture()), PAUSE);
  }

  private select(index: number | undefined): void {
    this.selected = index;
    this.update();
  }

  private change(index: number, thing: Thing): void {
    this.scene = { ...this.scene, things: this.scene.things.map((old, at) => (at === index ? thing : old)) };
    this.changed();
  }

  private remove(index: number): void {
    this.scene = { ...this.scene, things: this.scene.things.filter((_, at) => at !== index) };
    this.selected = undefined;
    this.changed();
    this.board.canvas.focus();
  }

  private add(thing: Pick<Thing, "kind" | "word" | "colour" | "pattern">): void {
    const { things } = this.scene;
    if (things.length >= this.world.maxObjects) return;
    this.scene = { ...this.scene, things: [...things, { ...thing, ...free(things), radius: 0.15, turn: 0 }] };
    this.selected = things.length;
    this.changed();
  }

  private toFront(index: number): void {
    const thing = this.scene.things[index];
    if (!thing) return;
    this.scene = { ...this.scene, things: [...this.scene.things.filter((_, at) => at !== index), thing] };
    this.selected = this.scene.things.length - 1;
    this.changed();
  }

  private update(): void {
    const { scene, selected } = this;
    this.board.show(scene, selected);
    for (const [of, select] of this.backgrounds) select.value = scene[of];
    const focused = [...this.list.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement);
    this.list.replaceChildren(...scene.things.map((thing, index) => {
      const button = make("button", { type: "button", ariaPressed: String(index === selected), textContent: `${name(thing)} (${place(this.world, thing)})` });
      button.addEventListener("click", () => this.select(index === this.selected ? undefined : index));
      return make("li", {}, button);
    }));
    this.list.querySelectorAll("button")[focused]?.focus();
    this.showControls();
    const full = scene.things.length >= this.world.maxObjects;
    // Whoever pressed one of them keeps the focus.
    for (const button of this.adding) button.ariaDisabled = String(full);
    this.full.textContent = full ? `The model has never seen more than ${this.world.maxObjects} things together.` : "";
  }

  /** Built anew only for another thing, so that a slider that is being moved stays. */
  private showControls(): void {
    const thing = this.selected === undefined ? undefined : this.scene.things[this.selected];
    this.controls.hidden = !thing;
    if (!thing) return this.controls.replaceChildren();
    const sliders = this.controls.querySelectorAll<HTMLInputElement>("input");
    if (sliders.length > 0 && this.controls.dataset.thing === `${this.selected} ${name(thing)}`) {
      const values = [thing.x, thing.y, thing.radius, thing.turn];
      sliders.forEach((slider, index) => (slider.value = String(values[index])));
      return;
    }
    this.controls.dataset.thing = `${this.selected} ${name(thing)}`;
    const slider = (label: string, of: "x" | "y" | "radius" | "turn", [min, max]: readonly [number, number], step: number) => {
      const input = make("input", { type: "range", min: String(min), max: String(max), step: String(step), value: String(thing[of]) });
      input.addEventListener("input", () => {
        const current = this.selected === undefined ? undefined : this.scene.things[this.selected];
        if (current && this.selected !== undefined) this.change(this.selected, kept({ ...current, [of]: input.valueAsNumber }));
      });
      return make("label", {}, label, input);
    };
    const button = (label: string, act: (index: number) => void) => {
      const made = make("button", { type: "button", textContent: label });
      made.addEventListener("click", () => this.selected !== undefined && act(this.selected));
      return made;
    };
    this.controls.replaceChildren(
      slider("From the left", "x", [0, 1], 0.01), slider("From the top", "y", [0, 1], 0.01),
      slider("Size", "radius", RADII, 0.005), slider("Turned", "turn", [-MOST_TURNED, MOST_TURNED], 1),
      button("To the front", (index) => this.toFront(index)), button("Delete", (index) => this.remove(index)),
    );
  }

  private shapes(): HTMLElement {
    const choice = (label: string, words: string[]) => {
      const select = make("select", {}, ...words.map((word) => new Option(word)));
      return { select, label: make("label", {}, label, select) };
    };
    const words = (list: { word: string }[]) => list.map(({ word }) => word);
    const [pattern, colour, shape] = [choice("Pattern", this.world.patterns), choice("Colour", words(this.world.colours)), choice("Shape", words(this.world.shapes))];
    const add = make("button", { type: "button", textContent: "Add the shape" });
    add.addEventListener("click", () => this.add({ kind: "shape", word: shape.select.value, colour: colour.select.value, pattern: pattern.select.value }));
    this.adding.push(add);
    return make("div", { className: "row" }, pattern.label, colour.label, shape.label, add);
  }

  private stickers(): HTMLElement {
    const buttons = this.world.stickers.map(({ word }) => {
      const icon = this.painter.icon({ kind: "sticker", word, x: 0, y: 0, radius: 0, turn: 0 }, 64);
      const button = make("button", { type: "button", title: word, ariaLabel: `Add: ${word}` }, icon);
      button.addEventListener("click", () => this.add({ kind: "sticker", word }));
      return button;
    });
    this.adding.push(...buttons);
    return make("div", { className: "stickers", role: "group", ariaLabel: "Stickers" }, ...buttons);
  }

  private background(): HTMLElement {
    const choice = (label: string, words: string[], of: "ground" | "pattern") => {
      const select = make("select", {}, ...words.map((word) => new Option(word)));
      this.backgrounds.set(of, select);
      select.addEventListener("change", () => {
        this.scene = { ...this.scene, [of]: select.value };
        this.changed();
      });
      return make("label", {}, label, select);
    };
    const grounds = this.world.grounds.map(({ word }) => word);
    return make("div", { className: "row" }, choice("Background", grounds, "ground"), choice("Its pattern", this.world.patterns, "pattern"));
  }
}

/** The spot of a grid that is farthest from all things. */
function free(things: readonly Thing[]): { x: number; y: number } {
  const spots = [0.25, 0.5, 0.75].flatMap((y) => [0.25, 0.5, 0.75].map((x) => ({ x, y })));
  const room = (spot: { x: number; y: number }) => Math.min(1, ...things.map(({ x, y, radius }) => Math.hypot(x - spot.x, y - spot.y) - radius));
  return spots.reduce((best, spot) => (room(spot) > room(best) + 1e-6 ? spot : best));
}
