/**
 * The status page: asks for /status.json each second and shows it. What is missing is named as
 * missing; when the server does not answer, the page says since when, and keeps the last numbers
 * greyed out.
 */
import { Charts } from "./charts.js";
import { bytes, count, millis, percent, rate, seconds } from "./format.js";

const POLL_MILLIS = 1000;
const LEVELS = ["written", "local", "network", "remote"];

const connection = document.getElementById("connection");
const charts = new Charts(document.getElementById("charts"));
let previous = null;
let lastAnswer = null;

async function poll() {
  try {
    const response = await fetch("/status.json", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(await response.text());
    show(await response.json());
  } catch {
    const since = lastAnswer === null ? "" : ` since ${lastAnswer.toLocaleTimeString()}`;
    say(`no answer${since}`, "bad");
    document.body.classList.add("stale");
    charts.add(Date.now() / 1000, {});
    previous = null;
  }
  setTimeout(poll, POLL_MILLIS);
}

function show(answer) {
  lastAnswer = new Date();
  document.body.classList.remove("stale");
  const { sites, wan } = answer.sites === undefined ? { sites: [answer], wan: null } : answer;
  say(sites.length === 0 ? "no site answers" : `updated ${lastAnswer.toLocaleTimeString()}`, "");
  document.getElementById("sites").replaceChildren(...sites.map(siteCard));
  document.getElementById("path").replaceChildren(...pathCards(wan));
  const primary = sites.find(({ role }) => role === "primary") ?? sites[0];
  charts.add(Date.now() / 1000, primary === undefined ? {} : pointOf(primary));
}

function say(text, kind) {
  // A live region is read aloud at every change: the time alone is none worth hearing.
  connection.setAttribute("aria-live", kind === "bad" ? "assertive" : "off");
  connection.textContent = text;
  connection.className = kind;
}

/** Rates from two answers of the same process. */
function pointOf(site) {
  const now = performance.now() / 1000;
  const latency = site.latencyMillis[strongestLevel(site)];
  const point = {
    latencyP50: latency?.p50 ?? null,
    latencyP99: latency?.p99 ?? null,
    notAtMirrorBytes: site.mirror?.notAtMirrorBytes ?? null,
  };
  const before = previous;
  previous = { now, site };
  if (before === null || before.site.uptimeSeconds > site.uptimeSeconds) return point;
  const perSecond = (part, key) => {
    const [earlier, later] = [before.site[part]?.[key], site[part]?.[key]];
    if (earlier === undefined || later === undefined) return null;
    return Math.max(0, (later - earlier) / (now - before.now));
  };
  return {
    ...point,
    writeBytesPerSecond: perSecond("throughput", "writeBytesTotal"),
    readBytesPerSecond: perSecond("throughput", "readBytesTotal"),
    lostPerSecond: perSecond("network", "lost"),
    rebuiltPerSecond: perSecond("network", "rebuilt"),
    retransmittedPerSecond: perSecond("network", "retransmitted"),
  };
}

function strongestLevel(site) {
  return LEVELS.findLast((level) => (site.latencyMillis[level]?.count ?? 0) > 0) ?? "written";
}

function siteCard(site) {
  const { mount, mirror } = site;
  const where =
    mount === null ? "not mounted" : `${mount.point}${mount.readOnly ? " (read-only)" : ""}`;
  return element("article", "card", [
    element("div", "title", [
      element("h2", "", site.site),
      element("span", `badge ${site.role}`, site.role),
      element("span", `badge state ${site.state === "running" ? "good" : "warn"}`, site.state),
    ]),
    element("p", "where", where),
    mirror === null ? element("p", "missing", withoutMirror(site)) : mirrorTiles(mirror),
    element("h3", "", "Acknowledgements"),
    latencyTable(site),
    element("h3", "", "Store"),
    spaceBar(site.store),
    storeFacts(site),
    element("h3", "", "Link"),
    site.network === null
      ? element("p", "missing", mirror === null ? "No link of its own." : "No mirror is connected.")
      : networkFacts(site.network),
  ]);
}

function withoutMirror(site) {
  return site.role === "mirror"
    ? "This site follows the primary; nothing follows it."
    : "No mirror is configured: nothing here survives the loss of this site.";
}

function mirrorTiles(mirror) {
  const tiles = element("div", "tiles", [
    tile("not at the mirror", bytes(mirror.notAtMirrorBytes)),
    tile("mirror lag", seconds(mirror.lagSeconds)),
    tile("mirror", mirror.state),
  ]);
  if (mirror.reason === null) return tiles;
  return element("div", "", [tiles, element("p", "missing", mirror.reason)]);
}

function latencyTable(site) {
  const rows = LEVELS.map((level) => {
    const latency = site.latencyMillis[level];
    const uses = Object.entries({
      "every operation": site.sync.floor,
      fsync: site.sync.fsync,
      fdatasync: site.sync.dataSync,
      O_SYNC: site.sync.osync,
    }).filter(([, each]) => each === level);
    const known = latency !== undefined && latency.count > 0;
    const cells = known
      ? [count(latency.count), millis(latency.p50), millis(latency.p99), millis(latency.max)]
      : ["none yet", "–", "–", "–"];
    return element("tr", known ? "" : "none", [
      element("th", "", level),
      element("td", "uses", uses.map(([name]) => name).join(", ")),
      ...cells.map((cell) => element("td", "number", cell)),
    ]);
  });
  const head = ["level", "what waits for it", "count", "p50", "p99", "max"];
  const table = element("table", "", [
    element(
      "tr",
      "",
      head.map((name) => element("th", "", name)),
    ),
    ...rows,
  ]);
  for (const header of table.firstChild.children) header.scope = "col";
  for (const row of rows) row.firstChild.scope = "row";
  const { onUnreachable, degraded, failed } = site.sync;
  const note = `Mirror unreachable: ${onUnreachable}; ${degraded} answered at local instead, ${failed} failed`;
  return element("div", "scroll", [table, element("p", "note", note)]);
}

/** The log's files as one bar: what of them is needed, and what would come back. */
function spaceBar({ logBytes, liveBytes, pinnedBytes, reclaimableBytes }) {
  const openBytes = Math.max(0, logBytes - liveBytes - pinnedBytes - reclaimableBytes);
  const parts = Object.entries({
    live: liveBytes,
    "pinned by snapshots": pinnedBytes,
    cleanable: reclaimableBytes,
    "being written": openBytes,
  }).filter(([, size]) => size > 0);
  const text = parts.map(([name, size]) => `${bytes(size)} ${name}`).join(", ");
  const bar = element(
    "div",
    "bar",
    parts.map(([name, size]) => {
      const part = element("span", name.split(" ")[0], "");
      part.style.flexGrow = String(size);
      return part;
    }),
  );
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", text);
  const legend = element("p", "note legend", [
    element("span", "", `log ${bytes(logBytes)}:`),
    ...parts.map(([name, size]) => element("span", name.split(" ")[0], `${bytes(size)} ${name}`)),
  ]);
  return element("div", "", [bar, legend]);
}

function storeFacts({ store, cleaner, uptimeSeconds }) {
  const cleaning = cleaner === null ? {} : cleanerFacts(cleaner);
  return facts({
    path: store.path,
    "file data": bytes(store.dataBytes),
    free: `${bytes(store.freeBytes)} of ${bytes(store.totalBytes)}`,
    inodes: count(store.inodes),
    segments: count(store.segments),
    snapshots: count(store.snapshots),
    ...cleaning,
    records: count(store.headSequence),
    "of them durable": count(store.durableSequence),
    epoch: `${Math.floor(store.epoch / 2 ** 32)}.${store.epoch % 2 ** 32}`,
    up: seconds(uptimeSeconds),
  });
}

function cleanerFacts({ cleanedSegments, writeAmplification, waiting, trouble }) {
  return {
    "segments cleaned": count(cleanedSegments),
    "write amplification": writeAmplification === null ? "–" : writeAmplification.toFixed(2),
    ...(waiting === 0 ? {} : { "waiting for space": count(waiting) }),
    ...(trouble === null ? {} : { "cleaning trouble": trouble }),
  };
}

function networkFacts(network) {
  return facts({
    "data packets": count(network.dataPackets),
    "repair packets": count(network.repairPackets),
    lost: count(network.lost),
    rebuilt: count(network.rebuilt),
    "beyond repair": count(network.unrecoverable),
    "sent again": count(network.retransmitted),
    "round trip": millis(network.roundTripMillis),
    "loss, at most": percent(network.lossEstimate),
    "burst, at most": `${network.burstEstimate.toFixed(1)} packets`,
    pace: rate(network.paceBitsPerSecond),
    "accepted risk": network.targetRisk.toExponential(0),
    sent: bytes(network.bytesSent),
  });
}

function pathCards(wan) {
  if (wan === null) return [];
  const card = (name, direction) =>
    element("article", "card", [
      element("h2", "", name),
      facts({
        "packets sent": count(direction.sent),
        delivered: count(direction.delivered),
        lost: `${count(direction.lost)} (${percent(direction.sent === 0 ? null : direction.lost / direction.sent)})`,
        overflowed: count(direction.overflowed),
        "refused by the cut": count(direction.cut),
        "on the wire": count(direction.inFlight),
      }),
    ]);
  return [card("WAN, primary → mirror", wan.aToB), card("WAN, mirror → primary", wan.bToA)];
}

function facts(entries) {
  const pairs = Object.entries(entries).map(([name, value]) =>
    element("div", "", [element("dt", "", name), element("dd", "", value)]),
  );
  return element("dl", "facts", pairs);
}

function tile(name, value) {
  return element("div", "tile", [element("strong", "", value), element("span", "", name)]);
}

/** `content` is text (never markup) or a list of elements. */
function element(tag, className, content) {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  if (typeof content === "string") made.textContent = content;
  else made.append(...content);
  return made;
}

void poll();
