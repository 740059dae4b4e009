import { el, make, show } from "./dom";
import { toHash } from "./link";
import type { Origin } from "./model";
import type { Question } from "./panels";
import type { Pictures } from "./pictures";
import { command, javascript } from "./snippets";

const COPY = "Copy";

async function copy(text: string, button: HTMLButtonElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without leave to write to it, the visitor copies by hand what is selected.
    button.textContent = "Selected";
    const code = button.previousElementSibling;
    if (code) getSelection()?.selectAllChildren(code);
  }
  setTimeout(() => (button.textContent = COPY), 2000);
}

function line(name: string, code: string): HTMLElement {
  const button = make("button", { type: "button", textContent: COPY, ariaLabel: `Copy ${name}` });
  button.addEventListener("click", () => void copy(code, button));
  return make("div", { className: "code" }, make("span", { textContent: name }), make("code", { textContent: code }), button);
}

/** Puts the question into the address and offers it as a link and as code. */
export function share(question: Question, origin: Origin, pictures: Pictures | undefined): void {
  const address = new URL(location.href);
  address.search = String(origin ?? "");
  address.hash = toHash({ question, picture: pictures?.link });
  history.replaceState(null, "", address);
  el("code").replaceChildren(
    line("JavaScript", javascript(question)),
    line("Command line", command(question, pictures?.current?.file)),
    line("Link", location.href),
  );
  const yours = [!origin && "model", pictures && !pictures.link && "picture"].filter(Boolean);
  el("link-note").textContent = yours.map((one) => `The ${one} is yours alone: the link does not carry it.`).join(" ");
  show("share", true);
}
