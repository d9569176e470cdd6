/** Rows under headings, in columns two spaces apart. Numbers stand to the right. Each line ends with a newline. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => (row[column] ?? "").length)));
  const isNumeric = headings.map(
    (_, column) => rows.length > 0 && rows.every((row) => /^[\d.,]+( [KMG]?i?B)?$/.test(row[column] ?? "")),
  );
  return [headings, ...rows]
    .map((row) => {
      const cells = row.map((cell, column) =>
        isNumeric[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      );
      return `${cells.join("  ").trimEnd()}\n`;
    })
    .join("");
}
