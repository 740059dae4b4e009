import { OfaError } from "ofa-web";

/** What a file of the page's server says. */
export async function fetched(path: string): Promise<Response> {
  const response = await fetch(path);
  if (!response.ok) throw new OfaError("fetch", `${path}: the server answered ${response.status}`);
  return response;
}
