/**
 * Goes through several sources at once, in the order in which they have something. Of each there is one element at the most that
 * nobody has taken yet, so a slow reader holds all of them back. Fair: who has something waits for at most one element of each of
 * the others. Leaving the iteration, or the error of one, ends them all.
 */
export async function* merge<Element>(
  sources: readonly AsyncGenerator<Element, void, undefined>[],
  /** Gives further sources while it goes on. Called at the start; what it returns is called at the end. */
  watch: (add: (source: AsyncGenerator<Element, void, undefined>) => void) => () => void = () => () => {},
): AsyncGenerator<Element, void, undefined> {
  const all = [...sources];
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
  let left = all.length;
  for (const source of all) ask(source);
  const unwatch = watch((source) => {
    left += 1;
    all.push(source);
    ask(source);
  });
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
    unwatch();
    await Promise.allSettled(all.map((source) => source.return()));
  }
}

type Arrival<Element> =
  | { readonly source: AsyncGenerator<Element, void, undefined>; readonly result: IteratorResult<Element, void> }
  | { readonly source: AsyncGenerator<Element, void, undefined>; readonly error: unknown };
