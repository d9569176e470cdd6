import type { RegisteredRoute } from "./api-document.ts";
import { buildApiDocument } from "./api-document.ts";
import { type HttpApp, sendJson } from "./http-app.ts";
import { querySchema } from "./query.ts";

/** Serves the API's document. To be called before the other routes are added: it describes those that come after it. */
export function addApiRoutes(app: HttpApp, { version = "unreleased" }: { readonly version?: string | undefined }): void {
  const routes = listRoutes(app);
  let document: object | undefined;
  const options = { config: { isAlwaysServed: true }, schema: { querystring: querySchema({}) } };
  app.fastify.get("/v1/openapi.json", options, async (_request, reply) => {
    document ??= buildApiDocument(routes, version);
    return sendJson(reply, document);
  });
}

/** The routes that are registered from now on, as they come. */
export function listRoutes(app: HttpApp): readonly RegisteredRoute[] {
  const routes: RegisteredRoute[] = [];
  app.fastify.addHook("onRoute", ({ method, url, schema, config }) => {
    const querystring = schema?.querystring as RegisteredRoute["querystring"];
    const isAlwaysServed = config?.isAlwaysServed === true;
    for (const name of [method].flat()) routes.push({ method: name, url, querystring, isAlwaysServed });
  });
  return routes;
}
