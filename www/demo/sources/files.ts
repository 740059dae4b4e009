import { el, make } from "../dom";
import type { Source } from "./source";

/** Pictures of the visitor's own: chosen, dropped anywhere on the page, or pasted. */
export const files: Source = {
  id: "file",
  label: "Your own",
  mount(place, choose, _failed) {
    const take = (list: FileList | readonly File[] | null | undefined, name?: string) => {
      const file = list?.[0];
      if (file) choose({ blob: file, name: file.name || name || "picture", file: file.name });
    };
    const input = make("input", { type: "file", id: "file", accept: "image/*" });
    place.append(make("label", {}, "Choose a file, drop a picture on the page or paste one", input));
    input.addEventListener("change", () => {
      take(input.files);
      input.value = "";
    });
    const over = (on: boolean) => el("stage").classList.toggle("over", on);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) over(false);
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      take(event.dataTransfer?.files);
    });
    document.addEventListener("paste", (event) => {
      take([...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/")), "pasted picture");
    });
  },
};
