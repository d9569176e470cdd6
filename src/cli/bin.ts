#!/usr/bin/env node
/**
 * The `proglog` command's first file. An old Node must be able to read it, so that it can say that it is too old: all else is
 * loaded afterwards, and nothing newer than a dynamic import stands here.
 */
const oldestNode = 24;

if (Number(process.versions.node.split(".")[0]) < oldestNode) {
  process.stderr.write(
    "proglog: cannot start on Node " + process.versions.node + ": Node " + oldestNode + " or newer is needed\n",
  );
  process.exitCode = 1;
} else {
  // The first process of a container has no defaults: a signal that nobody listens to is lost there, and the container is killed after
  // some time. So until a command listens by itself, while all is still being loaded too, a signal ends it as it does everywhere else.
  if (process.pid === 1) {
    process.on("SIGINT", () => endUnlessHeard("SIGINT", 130));
    process.on("SIGTERM", () => endUnlessHeard("SIGTERM", 143));
  }
  // A rejection of either is a fault of ours: Node prints it whole and exits with 1.
  void import("./main.ts")
    .then(({ main }) => main(process.argv.slice(2)))
    .then((exitCode) => {
      process.exitCode = exitCode;
    });
}

function endUnlessHeard(signal: "SIGINT" | "SIGTERM", exitCode: number): void {
  if (process.listenerCount(signal) === 1) process.exit(exitCode);
}
