import { OfaError } from "ofa-web";
import { el, make } from "../dom";
import type { Picture, Source } from "./source";

/** The file as a picture, once the browser could read it. */
async function picture(file: File, name: string): Promise<Picture> {
  const image = make("img", { src: URL.createObjectURL(file) });
  try {
    await image.decode();
  } catch {
    throw new OfaError("image", `"${name}" is not a picture this browser can read`);
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return { blob: file, name, file: file.name };
}

/** Pictures of the visitor's own: chosen, dropped anywhere on the page, or pasted. */
export const files: Source = {
  id: "file",
  label: "Your own",
  mount(place, choose) {
    const take = (list: FileList | readonly File[] | null | undefined, name?: string) => {
      const file = list?.[0];
      if (file) choose(picture(file, file.name || name || "picture"));
    };
    const input = make("input", { type: "file", id: "file", accept: "image/*" });
    place.append(make("label", {}, "Choose a file, drop a picture on the page or paste one", input));
    input.addEventListener("change", () => {
      take(input.files);
      input.value = "";
    });
    /** A text for the field under it, though a picture comes along, as from a spreadsheet. */
    const isText = ({ target }: Event, transfer: DataTransfer | null) =>
      transfer?.types.includes("text/plain") && target instanceof Element && target.matches("textarea, [type=text], [type=number]");
    const over = (on: boolean) => el("stage").classList.toggle("over", on);
    document.addEventListener("dragover", (event) => {
      const text = isText(event, event.dataTransfer);
      over(!text);
      if (!text) event.preventDefault();
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) over(false);
    });
    document.addEventListener("drop", (event) => {
      over(false);
      if (isText(event, event.dataTransfer)) return;
      event.preventDefault();
      take(event.dataTransfer?.files);
    });
    document.addEventListener("paste", (event) => {
      if (isText(event, event.clipboardData)) return;
      take([...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/")), "pasted picture");
    });
  },
};
