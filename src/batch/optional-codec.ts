import { messageOf } from "../base/error.ts";
import type { Codec } from "./codec.ts";

/**
 * A codec whose package a user installs beside this one, or doesn't. It is looked for when it is first asked for, so that who
 * never meets such a batch never loads it; and once only, since batches that need what isn't there may come in thousands.
 */
export class OptionalCodec {
  readonly packageName: string;
  readonly #load: () => Codec;
  #found: Codec | MissingPackage | undefined;

  /** `load` loads the package, and throws when it isn't there or isn't what it should be. */
  constructor(packageName: string, load: () => Codec) {
    this.packageName = packageName;
    this.#load = load;
  }

  get(): Codec | MissingPackage {
    this.#found ??= this.#find();
    return this.#found;
  }

  #find(): Codec | MissingPackage {
    try {
      return this.#load();
    } catch (cause) {
      // A native package that is there may still lack the part built for this platform: then npm has more to tell than we.
      const isAbsent = messageOf(cause).startsWith(`Cannot find module '${this.packageName}'`);
      const state = isAbsent ? "isn't installed" : `can't be loaded (${firstLine(messageOf(cause))})`;
      return {
        reason: `the package ${this.packageName}, which ${state}`,
        hint: `Install it beside proglog and start again: npm install ${this.packageName}`,
        cause,
      };
    }
  }
}

/** Why a codec can't be had. */
export interface MissingPackage {
  /** Goes on after "needs". */
  readonly reason: string;
  readonly hint: string;
  readonly cause: unknown;
}

/** What was loaded, when it has these functions; throws otherwise: a version too old or too new may lack them. */
export function checkFunctions<Package>(loaded: unknown, names: readonly (keyof Package & string)[]): Package {
  for (const name of names) {
    const found: unknown = typeof loaded === "object" && loaded !== null ? Reflect.get(loaded, name) : undefined;
    if (typeof found !== "function") throw new Error(`it has no function ${name}`);
  }
  return loaded as Package;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
