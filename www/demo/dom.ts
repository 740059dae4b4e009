/** The element with this id; the page and this script belong together. */
export function el<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

export function show(id: string, visible: boolean): void {
  el(id).hidden = !visible;
}

export function bytes(count: number): string {
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

export function milliseconds(time: number): string {
  return time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`;
}

/** A number field's value, if it has one. */
export function numberIn(id: string): number | undefined {
  const { value, valueAsNumber } = el<HTMLInputElement>(id);
  return value === "" || Number.isNaN(valueAsNumber) ? undefined : valueAsNumber;
}
