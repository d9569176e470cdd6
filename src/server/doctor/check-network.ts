import { isIP } from "node:net";
import { systemErrorCode } from "../../base/disk.ts";
import { doctorClockSkewMaxMs } from "../../base/doctor-limits.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import { isExposed } from "../tls-config.ts";
import type { Config } from "../config.ts";
import { formatNodeAddress, type NodeAddress, parseNodeAddress } from "../node-address.ts";
import { findHolder } from "./check-disk.ts";
import type { DoctorSystem, LivezAnswer } from "./doctor-system.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** Whether the node can listen, is found under its own address, and finds the others. */
export async function checkNetwork(config: Config, system: DoctorSystem): Promise<readonly Finding[]> {
  const joined = config.startJoinAddrs?.split(",") ?? [];
  return [
    await checkPort(config, system),
    ...checkExposure(config),
    ...(config.advertiseAddr === null ? [] : [await checkAdvertised(config.advertiseAddr, system)]),
    ...(await Promise.all(joined.map((address) => checkNode(address, system)))).flat(),
    ...(await checkCollector(config, system)),
  ];
}

/** That it can't be pushed to keeps no node from serving. */
async function checkCollector({ otlpEndpoint, otlpHeaders }: Config, system: DoctorSystem): Promise<readonly Finding[]> {
  if (otlpEndpoint === null) return [];
  try {
    await system.pushNothing({ endpoint: otlpEndpoint, headers: otlpHeaders });
    return [ok("network", `the collector at ${otlpEndpoint} takes what is pushed`)];
  } catch (error) {
    const advice = "Look at its address, at its receiver of OTLP over HTTP (mostly port 4318), and at --otlp-headers.";
    return [warning("network", `--otlp-endpoint: ${messageOf(error)}`, advice)];
  }
}

async function checkPort(config: Config, system: DoctorSystem): Promise<Finding> {
  const address = { host: config.bindAddr, port: config.rpcPort };
  const text = formatNodeAddress(address);
  const holder = tryFindHolder(config, system);
  try {
    await system.tryListen(address);
  } catch (error) {
    switch (systemErrorCode(error)) {
      case "EADDRINUSE":
        // The node that has this directory is the one that should be there.
        if (holder !== undefined && (await isAnswering(address, system)))
          return ok("network", `${text} answers; process ${holder.pid} has the data directory`);
        return problem("network", `another process listens at ${text}`, "Stop it, or take another --rpc-port.");
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
        return problem(
          "network",
          `${config.bindAddr} is no address of this machine`,
          "Set --bind-addr to one that is, or to 0.0.0.0.",
        );
      case "EACCES":
        return problem(
          "network",
          `port ${config.rpcPort} isn't this user's to take`,
          "Take an --rpc-port from 1024 on, or allow it (CAP_NET_BIND_SERVICE).",
        );
      default:
        return problem(
          "network",
          `nobody can listen at ${text}: ${messageOf(error)}`,
          "Set another --bind-addr or --rpc-port.",
        );
    }
  }
  if (config.rpcPort === 0) return ok("network", `a free port of ${config.bindAddr} is taken at the start`);
  if (holder === undefined) return ok("network", `${text} is free to listen at`);
  return warning(
    "network",
    `process ${holder.pid} has the data directory, and nobody listens at ${text}`,
    "It was started with other flags than the doctor: give these, too.",
  );
}

/** That the directory can't be asked is told of where it is looked at. */
function tryFindHolder(config: Config, system: DoctorSystem): { readonly pid: string } | undefined {
  try {
    return findHolder(config, system);
  } catch {
    return undefined;
  }
}

async function isAnswering(address: NodeAddress, system: DoctorSystem): Promise<boolean> {
  // Who listens everywhere is asked here.
  const host = ["0.0.0.0", "::"].includes(address.host) ? "127.0.0.1" : address.host;
  return (await tryAsk({ host, port: address.port }, system)) !== undefined;
}

async function tryAsk(address: NodeAddress, system: DoctorSystem): Promise<LivezAnswer | undefined> {
  try {
    return await system.askLivez(address);
  } catch {
    // Refused, silent or unknown: nobody is there as far as can be told from here.
    return undefined;
  }
}

function checkExposure(config: Config): readonly Finding[] {
  const { bindAddr } = config;
  if (!isExposed(config)) return [];
  return [
    warning(
      "network",
      `--insecure: who reaches ${bindAddr} reads and writes everything, unless there is an access policy`,
      "Keep others away from it by a firewall or a network of its own.",
    ),
  ];
}

async function checkAdvertised(address: string, system: DoctorSystem): Promise<Finding> {
  const { host = address } = parseNodeAddress(address) ?? {};
  const found = await tryLookup(host, system);
  if (found === undefined)
    return warning(
      "network",
      `--advertise-addr: the name ${host} isn't known here`,
      "Others have to know it: look at DNS or /etc/hosts.",
    );
  return ok("network", `others are told ${address}${isIP(host) === 0 ? ` (${found.join(", ")})` : ""}`);
}

async function tryLookup(host: string, system: DoctorSystem): Promise<readonly string[] | undefined> {
  if (isIP(host) !== 0) return [host];
  try {
    return await system.lookup(host);
  } catch (error) {
    if (isProglogError(error)) throw error;
    return undefined;
  }
}

/** One of --start-join-addrs. That it isn't there is no problem: it may be started after this one. */
async function checkNode(text: string, system: DoctorSystem): Promise<readonly Finding[]> {
  const address = parseNodeAddress(text);
  const found = address === undefined ? undefined : await tryLookup(address.host, system);
  if (address === undefined || found === undefined || found.length === 0)
    return [
      warning(
        "network",
        `--start-join-addrs: ${text} isn't known here`,
        "Look at DNS or /etc/hosts. In Kubernetes names are there once their pods are.",
      ),
    ];
  const answers = await Promise.all(
    found.map(async (host): Promise<readonly Finding[]> => {
      const name = found.length === 1 ? text : `${text} (${host})`;
      const askedAt = system.clock.now();
      const answer = await tryAsk({ host, port: address.port }, system);
      if (answer === undefined)
        return [
          warning(
            "network",
            `--start-join-addrs: nobody answers at ${name}`,
            "Start that node, or open the way to it: firewall, security group, network policy.",
          ),
        ];
      return [
        ok("network", `${name} answers`),
        ...compareClocks(name, { date: answer.date, askedAt, answeredAt: system.clock.now() }),
      ];
    }),
  );
  return answers.flat();
}

interface ToldTime {
  readonly date: number | undefined;
  readonly askedAt: number;
  readonly answeredAt: number;
}

/** It told whole seconds, some time between question and answer. */
function compareClocks(name: string, { date, askedAt, answeredAt }: ToldTime): readonly Finding[] {
  if (date === undefined) return [];
  const aheadMs = date - answeredAt;
  const behindMs = askedAt - (date + 1000);
  const skewMs = Math.max(aheadMs, behindMs);
  if (skewMs <= doctorClockSkewMaxMs) return [ok("clock", `that of ${name} is the same, within some seconds`)];
  const seconds = Math.round(skewMs / 1000);
  return [
    warning(
      "clock",
      `that of ${name} is ${seconds} s ${aheadMs > 0 ? "ahead" : "behind"}`,
      "Keep the clocks of all nodes by NTP: retention by age and timestamps go by the leader's.",
    ),
  ];
}
