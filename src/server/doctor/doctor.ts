import type { ConfigReport } from "../config-report.ts";
import { type Config, parseConfig } from "../config.ts";
import { checkCertificates } from "./check-certificates.ts";
import { checkDisk } from "./check-disk.ts";
import { checkNetwork } from "./check-network.ts";
import { checkClock, checkDescriptors, checkMemory, checkPackages, checkRuntime } from "./check-process.ts";
import { type DoctorSystem, thisSystem } from "./doctor-system.ts";
import { doctorAreas, type Finding, ok, problem } from "./finding.ts";

/**
 * Looks at the machine as a node would find it that is started with this configuration, and at the node that runs so already. It starts
 * nothing, and leaves nothing: one file is written beside the data and removed.
 */
export async function examine(report: ConfigReport, system: DoctorSystem = thisSystem()): Promise<readonly Finding[]> {
  const { entries, problems } = report;
  // What is wrong with it is told; what doesn't depend on it is looked at all the same.
  const config = problems.length > 0 ? parseConfig() : configOf(report);
  const found: readonly Finding[] = [
    ...(problems.length === 0
      ? [ok("configuration", `sound: ${entries.length} keys`)]
      : problems.map(({ message, hint }) => problem("configuration", message, hint ?? "See proglog serve --help."))),
    checkRuntime(system),
    checkDescriptors(config, system),
    checkMemory(system),
    ...checkPackages(config, system),
    ...(problems.length > 0
      ? []
      : [
          checkClock(config, system),
          ...(await checkDisk(config, system)),
          ...(await checkNetwork(config, system)),
          ...checkCertificates(entries, system),
        ]),
  ];
  return found.toSorted((a, b) => doctorAreas.indexOf(a.area) - doctorAreas.indexOf(b.area));
}

function configOf({ entries }: ConfigReport): Config {
  // The report has every key, and each value as the schema made it.
  return Object.fromEntries(entries.map(({ key, value }) => [key.property, value])) as unknown as Config;
}
