import { OfaError } from "ofa-web";
import { make, rest, tell } from "../dom";
import type { Source } from "./source";

const NONE = "No camera was found";
const BUSY = "The camera does not start; another program may be using it";
/** What the browser's refusals mean. */
const REFUSALS: Record<string, string> = {
  NotFoundError: NONE,
  OverconstrainedError: NONE,
  NotAllowedError: "The camera was not allowed",
  NotReadableError: BUSY,
  AbortError: BUSY,
};

let switchOff = () => {};

function refused(error: DOMException): never {
  const message = REFUSALS[error.name];
  throw message ? new OfaError("unsupported", message, { cause: error }) : error;
}

/** A picture of what is in front of the camera, which is on only while its tab is open. */
export const camera: Source = {
  id: "camera",
  label: "Camera",
  mount(place, choose) {
    let stream: MediaStream | undefined;
    /** How often the tab was left: what the visitor allows afterwards stays off. */
    let left = 0;
    const video = make("video", { muted: true, playsInline: true, hidden: true, ariaLabel: "What the camera sees" });
    const button = make("button", { type: "button" });
    const show = (on: boolean) => {
      video.hidden = !on;
      button.textContent = on ? "Take a picture" : "Switch the camera on";
    };
    const press = async () => {
      if (!stream) {
        if (!navigator.mediaDevices) throw new OfaError("unsupported", "The camera can be used only on https pages and localhost");
        const before = left;
        const allowed = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(refused);
        if (left !== before) return allowed.getTracks().forEach((track) => track.stop());
        stream = allowed;
        video.srcObject = stream;
        await video.play().catch((error: unknown) => {
          // What was switched off meanwhile does not play.
          if (left !== before) return;
          switchOff();
          throw error;
        });
        if (left === before) show(true);
        return;
      }
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      canvas.getContext("2d")?.drawImage(video, 0, 0);
      choose({ blob: await canvas.convertToBlob(), name: "camera picture", file: "camera.png" });
    };
    switchOff = () => {
      left++;
      stream?.getTracks().forEach((track) => track.stop());
      stream = undefined;
      video.srcObject = null;
      show(false);
    };
    button.addEventListener("click", () => {
      if (button.ariaDisabled === "true") return;
      rest(button, true);
      press().finally(() => rest(button, false)).catch((error) => tell("picture-error", error));
    });
    show(false);
    place.append(video, button);
  },
  leave: () => switchOff(),
};
