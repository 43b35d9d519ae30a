/**
 * One site: a store in its role, its mount, its link to the other site, its control socket and page.
 * Everything is wired here and nowhere else.
 */
import {
  type FuseServer,
  FOLLOWER,
  serveFuse,
  SOLE_WRITER,
} from "../../logfs/export/fuse/serve.ts";
import { resolve as resolvePath } from "node:path";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import type { Vfs } from "../../logfs/core/vfs.ts";
import { StoreRegistry } from "../../logfs/log/registry.ts";
import { openLink, type UdpLink } from "../../gateway/udp/endpoint.ts";
import { resolveAddress } from "../../gateway/udp/address.ts";
import { readKeys } from "../../gateway/udp/keys.ts";
import { systemTime } from "../../sys/time.ts";
import type { SiteStatus } from "../../web/status-types.ts";
import { createStatusServer, type StatusServer } from "../../web/serve.ts";
import { type ControlServer, serveControl } from "../control.ts";
import { SiteMetrics } from "../metrics.ts";
import { refuseUnlessWhole } from "../damaged-tail.ts";
import { promoteOffline } from "../promote.ts";
import { VERSION } from "../version.ts";
import { MirrorSite } from "./mirror.ts";
import { openPrimary, type PrimarySite } from "./primary.ts";
import type { Config, MirrorConfig } from "../config.ts";
import { quotaVerbs } from "./quota.ts";
import { snapshotVerbs } from "./snapshots.ts";
import { scrubVerbs, SiteScrub } from "./scrub.ts";
import { spaceVerbs } from "./space.ts";
import { trimVerbs } from "./trim.ts";
import { describeSite } from "./status.ts";

export type SiteState = "starting" | "running" | "promoting" | "fenced" | "stopping" | "stopped";

export class Site {
  state: SiteState = "starting";
  /** Resolves when the site has stopped, whoever asked for it; rejects with what ended it. */
  readonly ended: Promise<void>;
  readonly config: Config;
  readonly registry: StoreRegistry;
  readonly startedMillis = Date.now();
  role: PrimarySite | MirrorSite | null = null;
  link: UdpLink | null = null;
  mount: FuseServer | null = null;
  readonly scrub = new SiteScrub();
  private readonly logger: Logger;
  private readonly metrics: SiteMetrics;
  private control: ControlServer | null = null;
  private page: StatusServer | null = null;
  /** Mounting and unmounting, one after the other. */
  private mounting: Promise<void> = Promise.resolve();
  private settle: { resolve: () => void; reject: (error: unknown) => void };
  private current: SiteStatus | null = null;

  private constructor(config: Config, registry: StoreRegistry, logger: Logger) {
    this.config = config;
    this.registry = registry;
    this.logger = logger;
    let settle: Site["settle"] | undefined;
    this.ended = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    // A site that is stopped before anybody waits for it is not an unhandled rejection.
    this.ended.catch(() => {});
    this.settle = settle ?? { resolve: () => {}, reject: () => {} };
    this.metrics = new SiteMetrics(VERSION, () => this.current ?? describeSite(this, {}));
  }

  /** Opens the store, connects, mounts. Throws `SmfsError`, having closed what it had opened. */
  static async start(config: Config, logger: Logger): Promise<Site> {
    const site = new Site(config, StoreRegistry.open(resolvePath(config.store.path)), logger);
    try {
      await site.openRole();
      await site.openDoors();
      site.state = site.registry.fencedBy === null ? "running" : "fenced";
      return site;
    } catch (error) {
      await site.stop();
      throw error;
    }
  }

  async status(): Promise<SiteStatus> {
    this.current = describeSite(this, await this.metrics.latencies());
    return this.current;
  }

  /** The metrics read the status of one moment: this one. */
  async metricsText(): Promise<string> {
    await this.status();
    return this.metrics.text();
  }

  /** The mirror becomes the primary. Gives the new term. */
  async promote(force: boolean): Promise<{ term: number }> {
    if (this.state === "promoting") throw new SmfsError("BUSY", "a promotion is under way");
    if (this.role?.role !== "mirror") {
      throw new SmfsError("USAGE", `${this.registry.path} is a primary's store already`);
    }
    if (this.link?.up === true && !force) {
      const message = "the primary is still connected; stop it first, or promote with --force";
      throw new SmfsError("BUSY", message);
    }
    if (!force) refuseUnlessWhole(this.registry, this.role.log?.head.sequence ?? 0);
    this.state = "promoting";
    this.link?.close();
    this.link = null;
    await this.unmount();
    await this.scrub.stop();
    await this.role.close();
    this.role = null;
    try {
      const term = await promoteOffline(this.registry, { force });
      this.logger.warn({ term }, "promoted: this site is the primary now");
      return { term };
    } finally {
      // A store that could not be promoted is still a mirror's, and goes on as one.
      await this.openRole();
      this.state = "running";
    }
  }

  /** Ends everything; `ended` tells how that went. */
  async stop(): Promise<void> {
    if (this.state === "stopping" || this.state === "stopped") return;
    this.state = "stopping";
    try {
      await this.closeAll();
      this.state = "stopped";
      this.settle.resolve();
    } catch (error) {
      this.settle.reject(error);
      throw error;
    }
  }

  private stopUnasked(): void {
    // Nobody waits for this call; those who wait for `ended` are told.
    this.stop().catch(() => {});
  }

  /** A mount that cannot be taken away does not keep the log from being closed. */
  private async closeAll(): Promise<void> {
    try {
      await this.unmount();
    } finally {
      this.link?.close();
      await this.control?.close();
      await this.page?.close();
      await this.scrub.stop();
      await this.role?.close();
    }
  }

  private async openRole(): Promise<void> {
    if (this.registry.role === "primary") await this.openAsPrimary();
    else await this.openAsMirror();
  }

  private async openAsPrimary(): Promise<void> {
    const role = await openPrimary(this.registry, this.config, systemTime, this.logger, {
      onSettled: (...settled) => this.metrics.observeCommit(...settled),
      onFenced: (reason) => this.fence(reason),
    });
    this.role = role;
    if (role.session !== null) await this.connect(role.session);
    this.remount();
    await this.mounting;
  }

  private async openAsMirror(): Promise<void> {
    const { registry, config, logger } = this;
    const onFileSystem = (): void => this.remount();
    const role = await MirrorSite.open(registry, config, systemTime, logger, onFileSystem);
    this.role = role;
    if (config.mirror === null) {
      throw new SmfsError("USAGE", "a mirror needs --listen or --peer, and --key-file");
    }
    await this.connect(role.session);
    this.remount();
    await this.mounting;
  }

  private async connect(
    session: (PrimarySite["session"] & object) | MirrorSite["session"],
  ): Promise<void> {
    const { mirror } = this.config;
    if (mirror === null) return;
    this.link = await openLink(linkOptions(mirror, session, this.logger));
    session.attach(this.link);
  }

  private async openDoors(): Promise<void> {
    this.control = await serveControl(this.registry.controlSocket, {
      "GET /status": () => this.status(),
      "GET /metrics": async () => ({ text: await this.metricsText() }),
      ...snapshotVerbs(this),
      ...quotaVerbs(this),
      ...spaceVerbs(this),
      ...scrubVerbs(this),
      ...trimVerbs(this),
      "POST /promote": (query) => this.promote(query.get("force") === "1"),
      "POST /stop": () => {
        setImmediate(() => this.stopUnasked());
      },
    });
    const { listen } = this.config.status;
    if (listen === null) return;
    const { host, port } = await resolveAddress(listen);
    this.page = await createStatusServer({
      host,
      port,
      status: () => this.status(),
      metrics: () => this.metricsText(),
    });
    this.logger.info({ url: this.page.url }, "status page");
  }

  /** Shows the present file system at the mount point, when there is one that can be shown. */
  private remount(): void {
    const { point } = this.config.mount;
    if (point === null) return;
    this.mounting = this.mounting
      .then(() => this.mountNow(point))
      .catch((error: unknown) => this.mountFailed(error));
  }

  private async mountNow(mountPoint: string): Promise<void> {
    const { role } = this;
    if (role === null || this.state === "stopping") return;
    if (role.role === "mirror" && role.volume?.ready !== true) {
      role.whenReady(() => this.remount());
      return;
    }
    const { vfs } = role;
    if (vfs === null) return;
    await this.dropMount();
    this.mount = await this.serve(vfs, mountPoint, role.role === "primary");
    this.logger.info({ mountPoint: this.mount.mountpoint, role: role.role }, "mounted");
  }

  private async serve(vfs: Vfs, mountpoint: string, writable: boolean): Promise<FuseServer> {
    const server = await serveFuse(
      vfs,
      {
        mountpoint,
        fsName: this.registry.path,
        access: writable ? "read-write" : "read-only",
        audience: this.config.mount.allowOther ? "everybody" : "owner",
        caching: writable ? SOLE_WRITER : FOLLOWER,
      },
      this.logger,
    );
    // Whoever unmounts from outside means to stop the site; our own unmount clears `mount` first.
    const stop = (): void => {
      if (this.mount === server) this.stopUnasked();
    };
    // A device that failed was reported when it did; the site stops all the same.
    server.ended.then(stop, stop);
    return server;
  }

  private mountFailed(error: unknown): void {
    this.logger.error({ err: error }, `mount: ${messageOf(error)}`);
    this.settle.reject(error);
    if (this.state !== "starting") this.stopUnasked();
    else throw error;
  }

  /** Runs `act` while nothing is mounted: files that were open get ENOTCONN. */
  async whileUnmounted(act: () => Promise<void>): Promise<void> {
    await this.unmount();
    try {
      await act();
    } finally {
      this.remount();
      await this.mounting;
    }
  }

  private async unmount(): Promise<void> {
    // A mount that failed was reported when it did.
    await this.mounting.catch(() => {});
    await this.dropMount();
  }

  private async dropMount(): Promise<void> {
    const { mount } = this;
    this.mount = null;
    await mount?.unmount();
  }

  /** Superseded by a promotion: whatever is acknowledged from here on would be lost. */
  private fence(reason: string): void {
    this.state = "fenced";
    this.logger.error({ reason }, "fenced: this site writes no more");
    if (this.role?.role === "primary") this.role.log.fence(reason);
    if (this.registry.fencedBy === null) this.registry.fence(reason);
  }
}

function linkOptions(
  mirror: MirrorConfig,
  handler: Parameters<typeof openLink>[0]["handler"],
  logger: Logger,
): Parameters<typeof openLink>[0] {
  const { listen, peer, key, rateBitsPerSecond, targetRisk, code, adapt, datagramBytes } = mirror;
  return {
    ...(listen === null ? {} : { listen }),
    ...(peer === null ? {} : { peer }),
    key: readKeys(key),
    config: { rateBitsPerSecond, targetRisk, code, adapt, datagramBytes },
    handler,
    logger,
  };
}
