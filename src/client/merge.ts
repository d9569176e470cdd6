/**
 * Goes through several sources at once, in the order in which they have something. Of each there is one element at the most that
 * nobody has taken yet, so a slow reader holds all of them back. Fair: who has something waits for at most one element of each of
 * the others. Leaving the iteration, or the error of one, ends them all.
 */
export async function* merge<Element>(
  sources: readonly AsyncGenerator<Element, void, undefined>[],
): AsyncGenerator<Element, void, undefined> {
  const ready: Arrival<Element>[] = [];
  let wake = (): void => {};
  const ask = (source: AsyncGenerator<Element, void, undefined>): void => {
    source.next().then(
      (result) => {
        ready.push({ source, result });
        wake();
      },
      (error: unknown) => {
        ready.push({ source, error });
        wake();
      },
    );
  };
  let left = sources.length;
  for (const source of sources) ask(source);
  try {
    while (left > 0) {
      const arrival = ready.shift();
      if (arrival === undefined) {
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      if ("error" in arrival) throw arrival.error;
      if (arrival.result.done === true) {
        left -= 1;
        continue;
      }
      yield arrival.result.value;
      ask(arrival.source);
    }
  } finally {
    await Promise.allSettled(sources.map((source) => source.return()));
  }
}

type Arrival<Element> =
  | { readonly source: AsyncGenerator<Element, void, undefined>; readonly result: IteratorResult<Element, void> }
  | { readonly source: AsyncGenerator<Element, void, undefined>; readonly error: unknown };
