import { make } from "../dom";
import type { Picture, Source } from "./source";

const NAMES = ["house", "boat", "snowman", "fruit", "balloons"];

async function sample(name: string): Promise<Picture> {
  const file = `${name}.png`;
  return { blob: await (await fetch(`samples/${file}`)).blob(), name, file, key: name };
}

let buttons: HTMLButtonElement[] = [];

/** Pictures that come with the page. */
export const samples: Source = {
  id: "sample",
  label: "Samples",
  mount(place, choose, failed) {
    buttons = NAMES.map((name) => {
      const image = make("img", { src: `samples/${name}.png`, alt: `Sample: ${name}` });
      const button = make("button", { type: "button", title: name, ariaPressed: "false" }, image);
      button.addEventListener("click", () => {
        sample(name).then(choose).catch(failed);
      });
      return button;
    });
    place.append(make("div", { id: "samples", className: "samples", role: "group", ariaLabel: "Sample pictures" }, ...buttons));
  },
  chosen({ key }) {
    for (const button of buttons) button.ariaPressed = String(button.title === key);
  },
  restore: (key) => (NAMES.includes(key) ? sample(key) : Promise.reject(new Error(`there is no sample ${key}`))),
};

/** Something to ask about from the start. */
export const first = () => sample(NAMES[0] as string);
