import type { Attention } from "ofa-web";
import { el, make, show } from "./dom";
import type { Stage } from "./stage";

/** Shows the words of an answer; the one that is pointed at or has the focus lights up what it was written from. */
export function showAttention({ columns, words }: Attention, stage: Stage): void {
  const buttons = words.map(({ text, weights }) => {
    const share = Math.round(100 * weights.reduce((a, b) => a + b, 0));
    const button = make("button", { type: "button", className: "word", textContent: text || "␣", title: `${share} % of its attention went to the picture` });
    const look = () => stage.look(weights, columns);
    button.addEventListener("pointerenter", look);
    // The word that has the focus stays lit.
    button.addEventListener("pointerleave", () => stage.look(words[buttons.indexOf(document.activeElement as HTMLButtonElement)]?.weights, columns));
    button.addEventListener("focus", look);
    button.addEventListener("blur", () => stage.look(undefined));
    // Safari gives pressed buttons no focus.
    button.addEventListener("click", () => button.focus());
    return button;
  });
  el("words").replaceChildren(...buttons);
  show("words", true);
  buttons[0]?.focus();
}
