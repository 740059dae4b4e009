import { milliseconds } from "./dom";

/** A stretch of time; `note` says what it consists of. */
export interface Stretch {
  name: string;
  time: number;
  note?: string;
}

/** What follows one another, as a bar whose parts are as long as they take, and each part in words. */
export function timeline(title: string, stretches: Stretch[]): HTMLElement {
  const total = stretches.reduce((sum, { time }) => sum + time, 0);
  const track = tagged("div", "track");
  // The list says the same.
  track.setAttribute("aria-hidden", "true");
  const parts = tagged("ul", "");
  stretches.forEach(({ name, time, note }, at) => {
    const share = (100 * time) / total;
    const hue = String(at + 1);
    const stretch = tagged("i", "");
    stretch.style.flexGrow = String(share);
    stretch.dataset.hue = hue;
    stretch.title = name;
    const swatch = tagged("i", "");
    swatch.dataset.hue = hue;
    const part = tagged("li", "");
    part.append(swatch, `${name} `, tagged("b", "", milliseconds(time)), ` ${share.toFixed(0)} %`);
    if (note) part.append(tagged("small", "", note));
    track.append(stretch);
    parts.append(part);
  });
  const figure = tagged("figure", "timeline");
  figure.append(tagged("figcaption", "", `${title}: ${milliseconds(total)}`), track, parts);
  return figure;
}

function tagged(tag: string, name: string, text = ""): HTMLElement {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}
