import { make, tell } from "../dom";
import { fetched } from "../fetched";
import type { Picture, Source } from "./source";

const NAMES = ["house", "boat", "snowman", "fruit", "balloons"];

/** A scene that training never drew, and what may be asked about it; `make ship` wrote the list. */
interface Unseen {
  image: string;
  questions: string[];
}

/** The unseen scenes by name; none before a model of scenes was shipped. */
const unseen: Promise<Map<string, Unseen>> = fetch("samples/scenes.json")
  .then((response) => (response.ok ? (response.json() as Promise<Unseen[]>) : []), () => [])
  .then((list) => new Map(list.map((one) => [one.image.replace(/\.png$/, ""), one])));

async function sample(name: string): Promise<Picture> {
  const file = `${name}.png`;
  const scene = (await unseen).get(name);
  const picture = { blob: await (await fetched(`samples/${file}`)).blob(), name, file, key: name };
  return scene ? { ...picture, ofScenes: true, questions: scene.questions } : picture;
}

const buttons: HTMLButtonElement[] = [];

/** Pictures that come with the page. */
export const samples: Source = {
  id: "sample",
  label: "Samples",
  mount(place, choose) {
    const button = (name: string) => {
      const image = make("img", { src: `samples/${name}.png`, alt: `Sample: ${name}` });
      const button = make("button", { type: "button", title: name, ariaPressed: "false" }, image);
      button.addEventListener("click", () => choose(sample(name)));
      buttons.push(button);
      return button;
    };
    const list = make("div", { id: "samples", className: "samples", role: "group", ariaLabel: "Sample pictures" });
    place.append(list);
    unseen.then((scenes) => list.append(...[...scenes.keys(), ...NAMES].map(button))).catch((error) => tell("picture-error", error));
  },
  chosen({ key }) {
    for (const button of buttons) button.ariaPressed = String(button.title === key);
  },
  async restore(key) {
    if (!NAMES.includes(key) && !(await unseen).has(key)) throw new Error(`there is no sample ${key}`);
    return sample(key);
  },
};

/** Something to ask about from the start. */
export const first = async () => sample([...(await unseen).keys(), ...NAMES][0] as string);
