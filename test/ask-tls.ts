import { request } from "node:https";

export interface ClientTls {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** "served", or the status and what it says. On a connection of its own. */
export async function askHttp1(port: number, tls: ClientTls, path = "/livez"): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sent = request({ host: "127.0.0.1", port, path, agent: false, ...tls });
  sent.once("error", reject);
  sent.once("response", (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    response.once("end", () => resolve(response.statusCode === 200 ? "served" : `${response.statusCode} ${text.trim()}`));
  });
  sent.end();
  return promise;
}
