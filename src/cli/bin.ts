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
  // A rejection of either is a fault of ours: Node prints it whole and exits with 1.
  void import("./main.ts")
    .then(({ main }) => main(process.argv.slice(2)))
    .then((exitCode) => {
      process.exitCode = exitCode;
    });
}
