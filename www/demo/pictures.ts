import { el, make, tell } from "./dom";
import { camera } from "./sources/camera";
import { files } from "./sources/files";
import { scene } from "./sources/scene";
import { first, samples } from "./sources/samples";
import type { Picture, Source } from "./sources/source";
import { Tabs } from "./tabs";

/** Where pictures come from; another way is another row. */
const SOURCES: readonly Source[] = [samples, scene, files, camera];

/** The picture asked about, and all the ways to choose another. */
export class Pictures {
  current: Picture | undefined;
  /** `source:key`, if the picture can be had again from a link. */
  link: string | undefined;
  /** How often one was asked for. */
  private turns = 0;
  /** A picture of the visitor's own, while one that nobody has done anything to stands in its place. */
  private own: Picture | undefined;

  constructor(private readonly changed: (picture: Picture) => void) {
    const place = el("source");
    const rooms = SOURCES.map((source) => {
      const room = make("div", { className: "source", hidden: true });
      source.mount(room, (picture) => void this.choose(picture, source.id));
      return room;
    });
    place.append(...rooms);
    let before: Source | undefined;
    const tabs = new Tabs(el("sources"), place, SOURCES, (id) => {
      before?.leave?.();
      if (this.own) void this.choose(this.own);
      before = SOURCES.find((source) => source.id === id);
      rooms.forEach((room, index) => (room.hidden = SOURCES[index]?.id !== id));
      before?.enter?.();
    }, true);
    tabs.select(samples.id);
  }

  /** Takes a picture once it is there, unless another was asked for meanwhile. */
  async choose(coming: Picture | Promise<Picture>, source?: string): Promise<void> {
    const turn = ++this.turns;
    try {
      const picture = await coming;
      if (turn !== this.turns) return;
      const own = this.current && this.current.key === undefined ? this.current : this.own;
      this.own = picture.untouched ? own : undefined;
      this.current = picture;
      this.link = source && picture.key !== undefined ? `${source}:${picture.key}` : undefined;
      for (const one of SOURCES) one.chosen?.(picture);
      this.changed(picture);
    } catch (error) {
      if (turn === this.turns) tell("picture-error", error);
    }
  }

  /** The picture of a link, or something to ask about from the start. */
  async restore(link: string | undefined): Promise<void> {
    if (link && link === this.link) return;
    const turn = ++this.turns;
    const [id = "", key = ""] = link?.split(/:(.*)/s) ?? [];
    // A link may be of another version of the page: what it does not know is no reason to show nothing.
    const picture = await SOURCES.find((one) => one.id === id)?.restore?.(key).catch(() => undefined);
    if (turn !== this.turns) return;
    if (picture) await this.choose(picture, id);
    else if (!this.current) await this.choose(first(), samples.id);
  }
}
