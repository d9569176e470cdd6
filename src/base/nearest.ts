/** The one of `words` that differs least from `word`, or undefined when all differ by more than a third of it. */
export function findNearest(word: string, words: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let leastDistance = Math.floor(word.length / 3) + 1;
  for (const candidate of words) {
    const distance = editDistance(word, candidate);
    if (distance < leastDistance) [nearest, leastDistance] = [candidate, distance];
  }
  return nearest;
}

/** Characters to insert, remove or replace to make `b` of `a` (Levenshtein), a row of the table at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let line = 1; line <= a.length; line += 1) {
    const next = [line];
    for (let column = 1; column <= b.length; column += 1) {
      const replaced = at(row, column - 1) + (a[line - 1] === b[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, at(row, column) + 1, at(next, column - 1) + 1));
    }
    row = next;
  }
  return at(row, b.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
