import { commandsPage } from "./commands-page.ts";
import { configPage } from "./config-page.ts";
import { errorsPage } from "./errors-page.ts";
import { metricsPage } from "./metrics-page.ts";

/** The reference: pages that are made of the source, by their path. */
export async function referencePages(): Promise<Readonly<Record<string, string>>> {
  return {
    "docs/reference-config.md": titled("Reference: configuration", configPage()),
    "docs/reference-commands.md": titled("Reference: commands", await commandsPage()),
    "docs/reference-metrics.md": titled("Reference: metrics", metricsPage()),
    "docs/reference-errors.md": titled("Reference: error codes", errorsPage()),
  };
}

function titled(title: string, body: string): string {
  return `# ${title}\n\n<!-- Made of the source by \`make reference\`: what is written here by hand is written over. -->\n\n${body.trimEnd()}\n`;
}
