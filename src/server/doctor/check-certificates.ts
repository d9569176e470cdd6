import { createPrivateKey, X509Certificate } from "node:crypto";
import { doctorCertificateMaxBytes, doctorCertificateMinDays } from "../../base/doctor-limits.ts";
import { isExposing } from "../../base/credential-file.ts";
import { messageOf } from "../../base/error.ts";
import { dayMs } from "../../base/units.ts";
import type { ConfigEntry } from "../config-report.ts";
import { splitPem } from "../tls/certificate-facts.ts";
import type { DoctorSystem } from "./doctor-system.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/**
 * The files that keys of the configuration called `…-cert-file`, `…-key-file` and `…-ca-file` name: that they are there and hold what
 * they should, that a key is that of its certificate and nobody else's to read, and how long certificates last.
 */
export function checkCertificates(entries: readonly FileEntry[], system: DoctorSystem): readonly Finding[] {
  const findings = entries.flatMap((entry): readonly Finding[] => {
    const { name } = entry.key;
    if (typeof entry.value !== "string") return [];
    if (/-(cert|ca)-file$/.test(name)) return checkChain(name, entry.value, system);
    return name.endsWith("-key-file") ? checkKey(entry, entries, system) : [];
  });
  return findings.length > 0 ? findings : [ok("certificates", "none are configured: connections are in clear")];
}

export interface FileEntry extends Pick<ConfigEntry, "value"> {
  readonly key: { readonly name: string };
}

function checkChain(name: string, path: string, system: DoctorSystem): readonly Finding[] {
  let chain: readonly X509Certificate[];
  try {
    chain = splitPem(readPem(path, system)).map((pem) => new X509Certificate(pem));
  } catch (error) {
    return [
      problem(
        "certificates",
        `--${name} ${path}: ${messageOf(error)}`,
        "Name a file of certificates in PEM, readable by the node's user.",
      ),
    ];
  }
  if (chain.length === 0)
    return [problem("certificates", `--${name} ${path} holds no certificate`, "Name a file of certificates in PEM.")];
  return chain.map((certificate) => checkDates(name, certificate, system));
}

function checkDates(name: string, certificate: X509Certificate, { clock }: DoctorSystem): Finding {
  const now = clock.now();
  const from = Date.parse(certificate.validFrom);
  const until = Date.parse(certificate.validTo);
  const who = `--${name}: ${certificate.subject.replaceAll("\n", ", ") || "a certificate without a subject"}`;
  const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
  if (until <= now) return problem("certificates", `${who} has expired on ${day(until)}`, "Put a new one in its place.");
  if (from > now)
    return problem(
      "certificates",
      `${who} isn't valid before ${new Date(from).toISOString()}`,
      "Wait, or look at the clock of this machine.",
    );
  const days = Math.floor((until - now) / dayMs);
  if (days < doctorCertificateMinDays)
    return warning("certificates", `${who} expires in ${days} days`, "Put a new one in its place before then.");
  return ok("certificates", `${who} is valid until ${day(until)}`);
}

function checkKey({ key, value }: FileEntry, entries: readonly FileEntry[], system: DoctorSystem): readonly Finding[] {
  const { name } = key;
  const path = String(value);
  try {
    const pem = readPem(path, system);
    const privateKey = createPrivateKey(pem);
    const { mode = 0 } = system.describeFile(path) ?? {};
    if (system.platform !== "win32" && isExposing(mode))
      return [
        problem(
          "certificates",
          `--${name} ${path} may be read or changed by others (mode ${mode.toString(8)}), and is refused`,
          `chmod 600 ${path}`,
        ),
      ];
    const certPath = entries.find((entry) => entry.key.name === name.replace(/key-file$/, "cert-file"))?.value;
    if (typeof certPath === "string" && !new X509Certificate(readPem(certPath, system)).checkPrivateKey(privateKey))
      return [problem("certificates", `--${name} ${path} isn't the key of ${certPath}`, "Name the two that belong together.")];
    return [ok("certificates", `--${name} ${path} is a key that nobody else may read`)];
  } catch (error) {
    return [
      problem(
        "certificates",
        `--${name} ${path}: ${messageOf(error)}`,
        "Name the private key of the certificate in PEM, readable by the node's user alone.",
      ),
    ];
  }
}

function readPem(path: string, { disk }: DoctorSystem): string {
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(Math.min(file.size(), doctorCertificateMaxBytes));
    return bytes.subarray(0, file.readSync(bytes, 0)).toString("latin1");
  } finally {
    file.close();
  }
}
