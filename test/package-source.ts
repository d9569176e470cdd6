import { registerHooks } from "node:module";

/**
 * For `node --import`: lets an example import the package by its name before it is built. Inside the checkout that name means
 * dist/, as everywhere; here it means src/.
 */
const sources: Readonly<Record<string, string>> = {
  "proglog/log": new URL("../src/log/index.ts", import.meta.url).href,
  "proglog/client": new URL("../src/client/index.ts", import.meta.url).href,
};

registerHooks({
  resolve: (specifier, context, next) => next(sources[specifier] ?? specifier, context),
});
