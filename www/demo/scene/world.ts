// The world of the model that ships, as `ofa corpus palette` writes it, and scenes in it. Lengths are shares of the
// picture's side, as the generator has them; drawings are in a square whose sides go from -1 to 1.
import { fetched } from "../fetched";

interface Drawn {
  word: string;
  drawing: string;
}

interface Toned {
  word: string;
  main: string;
  second: string;
}

export interface World {
  maxObjects: number;
  shapes: Drawn[];
  colours: Toned[];
  grounds: Toned[];
  patterns: string[];
  sizes: { word: string; radius: number }[];
  stickers: Drawn[];
  rim: number;
  shapeRepeat: number;
  groundRepeats: number;
}

/** A shape has a colour and a pattern, a sticker has neither. */
export interface Thing {
  kind: "shape" | "sticker";
  word: string;
  colour?: string;
  pattern?: string;
  x: number;
  y: number;
  radius: number;
  /** Degrees, clockwise. */
  turn: number;
}

/** From the back to the front. */
export interface Scene {
  ground: string;
  pattern: string;
  things: Thing[];
}

/** The generator turns nothing further than this, and draws nothing smaller or larger. */
export const MOST_TURNED = 30;
export const RADII = [0.085, 0.255] as const;

export async function loadWorld(): Promise<World> {
  return (await (await fetched("scene/world.json")).json()) as World;
}

export function find<T extends { word: string }>(list: readonly T[], word: string | undefined): T {
  const found = list.find((one) => one.word === word) ?? list[0];
  if (!found) throw new Error("the world is empty");
  return found;
}

/** What the model would call it: `striped red circle`, `fox`. */
export function name({ word, colour, pattern }: Thing): string {
  return [pattern === "plain" ? "" : pattern, colour, word].filter(Boolean).join(" ");
}

/** `medium, top left`, for those who do not see it. */
export function place({ sizes }: World, { radius, x, y }: Thing): string {
  const nearest = [...sizes].sort((a, b) => Math.abs(a.radius - radius) - Math.abs(b.radius - radius))[0];
  const third = (at: number, words: [string, string, string]) => words[Math.min(2, Math.floor(at * 3))];
  const row = third(y, ["top", "", "bottom"]);
  const column = third(x, ["left", "", "right"]);
  return `${nearest?.word ?? ""}, ${[row, column].filter(Boolean).join(" ") || "middle"}`;
}

/** Inside the picture and inside what the model knows. */
export function kept(thing: Thing): Thing {
  const within = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  const radius = within(thing.radius, ...RADII);
  return {
    ...thing, radius,
    x: within(thing.x, radius, 1 - radius),
    y: within(thing.y, radius, 1 - radius),
    turn: within(thing.turn, -MOST_TURNED, MOST_TURNED),
  };
}

const short = (value: number) => Math.round(value * 1000) / 1000;

/** A scene as a link holds it. */
export function toKey({ ground, pattern, things }: Scene): string {
  const row = ({ kind, word, colour, pattern: filled, x, y, radius, turn }: Thing) =>
    [kind === "shape" ? `${filled} ${colour} ${word}` : word, ...[x, y, radius, turn].map(short)].join(",");
  return [`${ground},${pattern}`, ...things.map(row)].join(";");
}

/** Nothing, if a word or a number in it makes no sense. */
export function fromKey(world: World, key: string): Scene | undefined {
  const [background = "", ...rows] = key.split(";");
  const [ground = "", pattern = ""] = background.split(",");
  if (!world.grounds.some(({ word }) => word === ground) || !world.patterns.includes(pattern)) return undefined;
  const things: Thing[] = [];
  for (const row of rows) {
    const [words = "", ...numbers] = row.split(",");
    const [x = NaN, y = NaN, radius = NaN, turn = NaN] = numbers.map(Number);
    if (![x, y, radius, turn].every(Number.isFinite) || things.length >= world.maxObjects) return undefined;
    const at = { x, y, radius, turn };
    if (world.stickers.some(({ word }) => word === words)) {
      things.push(kept({ kind: "sticker", word: words, ...at }));
      continue;
    }
    const [filled, colour, word] = words.split(" ");
    const known = world.shapes.some((one) => one.word === word) && world.colours.some((one) => one.word === colour);
    if (!word || !colour || !filled || !known || !world.patterns.includes(filled)) return undefined;
    things.push(kept({ kind: "shape", word, colour, pattern: filled, ...at }));
  }
  return { ground, pattern, things };
}
