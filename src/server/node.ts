import { type Clock, systemClock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { answersMaxBytes, bodiesMaxBytes } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { DataDirectory, type LogSettings } from "../replica/data-directory.ts";
import { isClustered } from "../replica/cluster/cluster-identity.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { ServerDescription } from "../wire/topic-message.ts";
import { AccessAdmin } from "./access/access-admin.ts";
import { ByteQuota, type ByteQuotas } from "./access/byte-quota.ts";
import { RouteAccess } from "./access/http-access.ts";
import { openAccessControl } from "./access/open-access-control.ts";
import { addAccessRoutes } from "./access-routes.ts";
import { addApiRoutes } from "./api-routes.ts";
import { addBackupRoutes } from "./backup-routes.ts";
import { checkBindAddress, isLoopback } from "./bind-address.ts";
import { ClusterService } from "./cluster-service.ts";
import { TopicService } from "./topic-service.ts";
import { clusterFlags } from "./cluster-config.ts";
import { addClusterRoutes } from "./cluster-routes.ts";
import { ClusteredAdmin } from "./clustered-admin.ts";
import { addBookRoutes } from "./book-routes.ts";
import type { Config } from "./config.ts";
import { addConsumeRoutes } from "./consume-routes.ts";
import { ConsumeService } from "./consume-service.ts";
import { GrpcDoor } from "./grpc-door.ts";
import { addHealthRoutes } from "./health-routes.ts";
import { HeldBytes } from "./held-bytes.ts";
import { HttpApp } from "./http-app.ts";
import { Listener } from "./listener.ts";
import { LevelledLogger } from "./levelled-logger.ts";
import { addLogLevelRoutes } from "./log-level-routes.ts";
import { createLogger } from "./logger.ts";
import { Metrics } from "./metrics.ts";
import { openClustered } from "./open-clustered.ts";
import { NodeSpans, type NodeSpansParts } from "./otlp/node-spans.ts";
import { Telemetry } from "./otlp/telemetry.ts";
import type { PeerConnect } from "./peer-context.ts";
import type { PeersStatus } from "./peer-transport.ts";
import { ProduceService } from "./produce-service.ts";
import { addProduceRoutes } from "./produce-routes.ts";
import { RequestBodies } from "./request-bodies.ts";
import { TailService } from "./tail-service.ts";
import type { RouteServices } from "./route-services.ts";
import { SingleNodeCluster } from "./single-node-cluster.ts";
import { describeSecurity, openTls, remindOfExposure } from "./security.ts";
import { isGuarded } from "./tls-config.ts";
import type { TlsDoor } from "./tls/tls-door.ts";
import { addTopicRoutes } from "./topic-routes.ts";
import { TurnClock } from "./turn-clock.ts";

/** A running node. */
export interface Node extends AsyncDisposable {
  /** Where it answers: `http://127.0.0.1:8000`, and by `https` with TLS. */
  readonly url: string;
  readonly storageId: string;
  /** Whether anything is encrypted, be it towards clients or peers. */
  readonly hasCertificates: boolean;
  /** Reads the files of certificates anew, as the node does by itself every other second; what is wrong with them it logs. */
  reloadCertificates(): void;
  /** Aborts, with the reason, when a node of a cluster goes on no more: closed, or by itself, since its directory was put back to an earlier state. */
  readonly stopped: AbortSignal;
  /**
   * Stops: takes no more connections, ends reads that wait, answers the requests under way (those not done after `stopGraceMs` are cut
   * off), syncs and closes the logs and gives the directory back. What was acknowledged is on the disk. Twice is fine.
   */
  close(): Promise<void>;
}

export interface NodeParts {
  readonly disk?: Disk;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
  /** The release, for the status. */
  readonly version?: string;
  /** Ends a start that waits: for the other nodes of a cluster. */
  readonly signal?: AbortSignal;
  /** How other nodes are dialled. Default: TCP. */
  readonly connectPeer?: PeerConnect;
}

/**
 * Starts a node, and resolves when it serves. While its logs are opened it listens already, and answers `/livez` and `/v1/status`.
 * Throws INSECURE_ADDRESS, ADDRESS_IN_USE, LOG_LOCKED, MANIFEST_CORRUPT and others; then nothing is left open.
 */
export async function startNode(config: Config, parts: NodeParts = {}): Promise<Node> {
  const { disk = nodeDisk, clock = systemClock, random = systemRandom, version } = parts;
  const logger = new LevelledLogger(parts.logger ?? createLogger(config), { level: config.logLevel, clock });
  checkBindAddress(config.bindAddr, { isInsecure: config.insecure, isGuarded: isGuarded(config) });
  const metrics = new Metrics({ version, now: () => clock.now() });
  const undo: (() => unknown)[] = [() => metrics.close(), () => logger.close()];
  try {
    const tls = openTls(config, { clock, logger, observer: metrics.tlsObserver });
    undo.push(() => tls?.close());
    const findReplica: NodeSpansParts["findReplica"] = (uuid) => storage.replicas.find(uuid);
    const spans = config.otlpTraces ? new NodeSpans({ clock, random, findReplica }) : undefined;
    if (spans !== undefined) metrics.watchSpans(spans);
    const observer = { ...metrics.logObserver, ...(spans && { stored: spans.stored }) };
    const shared = { disk, clock, random, logger, log: logSettings(config), observer };
    const clustered = isClustered(disk, config.dataDir, clusterFlags(config))
      ? await openClustered(config, {
          ...shared,
          ...{ groupObserver: metrics.groupObserver, peerObserver: metrics.peerObserver },
          getPort: () => listener.address.port,
          connectPeer: parts.connectPeer,
          peerTls: tls?.peers,
        })
      : undefined;
    const storage: NodeStorage = clustered?.node ?? (await DataDirectory.open(config.dataDir, shared));
    undo.push(() => storage.close(new ProglogError("SHUTTING_DOWN", "Cannot go on: the node didn't start")));
    const opened = await openAccessControl(config, {
      ...{ store: storage.policy, disk, clock, logger },
      onDenied: (action) => metrics.accessDenied(action),
      onBadToken: () => metrics.badToken(),
    });
    const { access, audit } = opened;
    const closeAccess = (): Promise<void> => opened.close();
    undo.push(closeAccess);
    metrics.watchAccess(access);
    const reminder = remindOfExposure(config, { clock, logger, access });
    undo.push(() => reminder?.cancel());
    const app = new HttpApp({
      logger,
      metrics,
      clock,
      access: new RouteAccess(access),
      isLoopbackOnly: isLoopback(config.bindAddr),
      allowedOrigins: config.allowOrigin?.split(",") ?? [],
      scheme: tls?.clients === undefined ? "http" : "https",
      findSuccessor: (topic, partition) => storage.findSuccessor(topic, partition),
    });
    undo.push(() => app.close());
    const held = new HeldBytes(bodiesMaxBytes);
    const quotas: ByteQuotas = {
      produce: new ByteQuota({ bytesPerSecond: config.produceQuotaBytesPerSecond, verb: "produce", clock }),
      consume: new ByteQuota({ bytesPerSecond: config.consumeQuotaBytesPerSecond, verb: "consume", clock }),
    };
    const services: RouteServices = {
      storage,
      topics: new TopicService(storage, { access, audit }),
      produce: new ProduceService(storage, {
        isAutoCreating: config.autoCreateTopics,
        access,
        quota: quotas.produce,
        clock: new TurnClock(clock),
        onProduced: (acks, durationMs) => metrics.produced(acks, durationMs),
        spans,
      }),
      consume: new ConsumeService(storage, { clock, access, quota: quotas.consume }),
      tails: new TailService(storage, { clock, access, quota: quotas.consume }),
      bodies: new RequestBodies({ bodyMaxBytes: config.maxBodyBytes, held, clock }),
      answers: new HeldBytes(answersMaxBytes),
    };
    const describeSelf = (): ServerDescription => ({
      id: storage.storageId,
      rpcAddr: formatAddress(listener.address),
      isLeader: true,
      state: "up",
      storageId: storage.storageId,
      isVoter: true,
    });
    const admin = clustered === undefined ? undefined : new ClusteredAdmin(clustered.node, clock);
    const cluster = new ClusterService(admin ?? new SingleNodeCluster(storage, describeSelf), { access, audit });
    const accessAdmin = new AccessAdmin({ store: storage.policy, access, audit, clock, random });
    addApiRoutes(app, { version });
    addBookRoutes(app, services);
    addProduceRoutes(app, services);
    addConsumeRoutes(app, services);
    addTopicRoutes(app, services);
    addClusterRoutes(app, { cluster, bodies: services.bodies });
    addBackupRoutes(app, { ...services, access, quota: quotas.consume, clusterId: () => clustered?.node.clusterId });
    addAccessRoutes(app, { admin: accessAdmin, bodies: services.bodies });
    addLogLevelRoutes(app, { logger, bodies: services.bodies, audit });
    addHealthRoutes(app, {
      storage,
      access,
      cluster: clustered?.node,
      metrics,
      security: () => describeSecurity(config, access),
      startedAt: clock.now(),
      now: () => clock.now(),
      version,
    });
    await app.ready();
    const door = new GrpcDoor({
      ...services,
      clock,
      random,
      logger,
      observer: metrics.grpcObserver,
      ...{ cluster, access, accessAdmin, quota: quotas.consume },
      listServers: () => admin?.listServers() ?? [describeSelf()],
      onUnheardFailure: () => metrics.unheardFailure(),
      onError: (code) => metrics.errorAnswered(code),
    });
    undo.push(() => door.close());
    const listener = await Listener.open({
      host: config.bindAddr,
      port: config.rpcPort,
      maxConnections: config.maxConnections,
      clock,
      onHttp1: (socket) => app.takeConnection(socket),
      onHttp2: (socket) => door.takeConnection(socket),
      ...(clustered === undefined ? {} : { onPeer: clustered.takeConnection }),
      tls,
      onAccepted: (protocol) => metrics.connectionAccepted(protocol),
      onRefused: (reason) => metrics.connectionRefused(reason),
      onError: (error) => logger.error({ reason: error.message }, "the listener failed"),
    });
    undo.push(() => {
      listener.stop();
      listener.destroyConnections();
    });
    metrics.watch({ ...services, listener, door });
    if (tls !== undefined) metrics.watchTls(tls);
    if (clustered !== undefined) {
      metrics.watchCluster(clustered.node);
      metrics.watchPeers({ status: () => clustered.peers()?.status() ?? noPeers });
    }
    const telemetry = new Telemetry(config, {
      ...{ clock, logger, spans },
      resource: () => ({ version: version ?? "unreleased", instanceId: clustered?.node.nodeId ?? storage.storageId }),
      collect: () => metrics.values(),
      onPushed: (signal, outcome) => metrics.pushed(signal, outcome),
    });
    undo.push(() => telemetry.close({ isLast: false }));
    const abandon = (): void =>
      void storage.close(new ProglogError("SHUTTING_DOWN", "Cannot start: the node was told to stop"));
    if (parts.signal?.aborted === true) abandon();
    parts.signal?.addEventListener("abort", abandon, { once: true });
    await storage.openReplicas();
    parts.signal?.removeEventListener("abort", abandon);
    app.serve();
    door.serve();
    const node = new RunningNode({
      ...services,
      ...{ config, app, door, listener, metrics, closeAccess, clock, logger, tls, reminder, telemetry },
      stopped: clustered?.node.stopped ?? new AbortController().signal,
    });
    logger.info({ url: node.url, dataDir: config.dataDir, storageId: node.storageId }, "serving");
    return node;
  } catch (error) {
    for (const step of undo.toReversed()) await Promise.try(step).catch((cause: unknown) => logFailure(logger, cause));
    throw error;
  }
}

class RunningNode implements Node {
  readonly url: string;
  readonly stopped: AbortSignal;
  readonly #parts: RunningParts;
  #closing: Promise<void> | undefined;

  constructor(parts: RunningParts) {
    this.#parts = parts;
    this.stopped = parts.stopped;
    const scheme = parts.tls?.clients === undefined ? "http" : "https";
    this.url = `${scheme}://${formatAddress(parts.listener.address)}`;
  }

  get hasCertificates(): boolean {
    return this.#parts.tls !== undefined;
  }

  reloadCertificates(): void {
    this.#parts.tls?.reload();
  }

  get storageId(): string {
    return this.#parts.storage.storageId;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { config, storage, app, door, listener, consume, tails, bodies, metrics, clock, logger } = this.#parts;
    const { closeAccess, tls, reminder, telemetry } = this.#parts;
    listener.stop();
    tls?.close();
    reminder?.cancel();
    // While its peers are still connected: who leads next need not wait for an election.
    const handedOver = storage.handOver();
    const drained = app.drain();
    const stopError = new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping", { hint: "Come back." });
    consume.stop();
    tails.stop(stopError);
    bodies.stop(stopError);
    const doorDrained = door.drain(stopError, config.stopGraceMs);
    const grace = Promise.withResolvers<void>();
    const timer = clock.setTimer(config.stopGraceMs, grace.resolve);
    await handedOver;
    await Promise.race([Promise.all([drained, doorDrained]), grace.promise]);
    timer.cancel();
    listener.destroyConnections();
    try {
      // While the directory is still ours.
      await closeAccess();
      await storage.close(stopError);
    } finally {
      await app.close().catch((error: unknown) => logFailure(logger, error));
      await door.close().catch((error: unknown) => logFailure(logger, error));
      // What was done last is in it. The logs are closed by now: a collector that dawdles keeps nobody from anything.
      await telemetry.close({ isLast: true });
      metrics.close();
    }
    logger.info({ url: this.url }, "stopped");
    logger.close();
  }
}

interface RunningParts extends RouteServices {
  readonly config: Config;
  readonly app: HttpApp;
  readonly door: GrpcDoor;
  readonly listener: Listener;
  readonly metrics: Metrics;
  readonly closeAccess: () => Promise<void>;
  readonly clock: Clock;
  readonly tls: TlsDoor | undefined;
  readonly reminder: { cancel(): void } | undefined;
  readonly logger: LevelledLogger;
  readonly telemetry: Telemetry;
  readonly stopped: AbortSignal;
}

/** Of a node whose network hasn't begun. */
const noPeers: PeersStatus = { knownCount: 0, reachedCount: 0, incomingCount: 0, bufferedBytes: 0, questionsCount: 0 };

function formatAddress({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function logSettings(config: Config): LogSettings {
  return {
    sync: config.sync,
    syncIntervalMs: config.syncIntervalMs,
    segmentMaxBytes: config.segmentMaxBytes,
    segmentMaxAgeMs: config.segmentMaxAgeMs,
    retentionIntervalMs: config.retentionIntervalMs,
    index: config.index,
    compression: config.compression,
    ...(config.retentionMaxBytes === null ? {} : { retentionMaxBytes: config.retentionMaxBytes }),
    ...(config.retentionMaxAgeMs === null ? {} : { retentionMaxAgeMs: config.retentionMaxAgeMs }),
    ...(config.scrubIntervalMs === null ? {} : { scrubIntervalMs: config.scrubIntervalMs }),
  };
}

function logFailure(logger: Logger, error: unknown): void {
  logger.error({ reason: messageOf(error) }, "a step of stopping failed");
}
