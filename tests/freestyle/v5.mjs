// The official SDK of v5, unmodified, against the emulator. Whatever it does not like is a mistake of the emulator.
// FREESTYLE_BASE_URL: the emulator. FREESTYLE_API_KEY: its key.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createServer, request } from "node:http";
import { Freestyle, FreestyleApiError } from "freestyle";

const baseUrl = process.env.FREESTYLE_BASE_URL;
const freestyle = new Freestyle({ baseUrl });
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const step = (name) => console.log(name);

/** What a call is refused with. */
async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof FreestyleApiError, String(error));
    assert.notEqual(error.code, "UNKNOWN_ERROR");
    return error;
  }
  throw new assert.AssertionError({ message: "this is not refused" });
}

/** A request through the edge, which goes by its `Host`. */
function through(host, path) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(baseUrl);
    const sent = request({ hostname, port, path, headers: { host } }, (response) => {
      let body = "";
      response.on("data", (data) => (body += data));
      response.on("end", () => resolve({ status: response.statusCode, body }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

step("create");
const { vm, vmId, data, firewallRules } = await freestyle.vms.create({
  slug: "honest",
  displayName: "an honest VM",
  snapshotId: "freestyle/ubuntu-sm",
  metadata: { lease: "abc", owner: "me" },
  ttlSeconds: 3600,
  autoDeleteSeconds: 600,
  idleTimeoutSeconds: -1,
  firewall: { rules: [{ action: "allow", source: {}, destination: { public: true } }] },
});
assert.match(vmId, /^vm-[0-9a-f]{32}$/);
assert.equal(data.state, "running");
assert.deepEqual(data.resources, { cpu: 2, memory: 4096, storage: 16384 });
assert.equal(data.ttlSeconds, 3600);
assert.equal(data.autoDeleteSeconds, 600);
assert.equal(data.idleTimeoutSeconds, undefined);
assert.equal(firewallRules.length, 1);
assert.equal(firewallRules[0].source.vmId, vmId);

step("slug conflict");
const firewall = { rules: [] };
assert.equal((await refused(freestyle.vms.create({ slug: "honest", firewall }))).status, 409);
assert.equal((await freestyle.vms.get("honest")).id, vmId);

step("refusals");
assert.equal((await refused(freestyle.vms.get("no-such-vm"))).code, "NOT_FOUND");
assert.equal((await refused(freestyle.vms.create({ slug: "Not-A-Slug", firewall }))).status, 400);
assert.equal((await refused(freestyle.vms.create({ name: "v1", firewall }))).status, 400);
assert.equal((await refused(vm.exec({ command: "x".repeat(65537) }))).status, 400);
const stranger = new Freestyle({ baseUrl, apiKey: "somebody-else" });
assert.equal((await refused(stranger.vms.list())).code, "INVALID_API_KEY");

step("list");
const second = await freestyle.vms.create({ firewall, metadata: { lease: "def" } });
const page = await freestyle.vms.list({ limit: 1, offset: 1 });
assert.deepEqual([page.vms.length, page.totalCount, page.runningCount], [1, 2, 2]);
assert.equal(page.vms[0].id, vmId);
const found = await freestyle.vms.list({ metadata: "lease:abc,owner:me" });
assert.deepEqual(found.vms.map((it) => it.id), [vmId]);
assert.equal((await freestyle.vms.list({ slug: "honest" })).totalCount, 1);
assert.equal((await freestyle.vms.list({ state: "paused" })).totalCount, 0);
await freestyle.vms.delete(second.vmId);
assert.equal((await freestyle.vms.list()).totalCount, 1);

step("update");
const updated = await vm.update({ metadata: { owner: "", more: "1" }, ttlSeconds: -1 });
assert.deepEqual(updated.metadata, { lease: "abc", more: "1" });
assert.equal(updated.ttlSeconds, undefined);

step("exec");
const ran = await vm.exec({
  command: 'echo "out $A"; cat; id -u; echo err >&2; exit 7',
  env: { A: "b c" },
  stdin: Buffer.from("from stdin\n").toString("base64"),
});
assert.equal(ran.statusCode, 7);
const uid = ran.stdout.match(/^out b c\nfrom stdin\n(\d+)\n$/)?.[1];
assert(uid === "1000" || process.env.EMULATOR_USERS === "no", ran.stdout);
assert.equal(ran.stderr, "err\n");
assert.equal((await vm.linuxUser("root").exec("id -u")).stdout, "0\n");
assert.equal((await vm.exec("kill -9 $$")).statusCode, 137);

step("timeout");
const late = await vm.exec({ command: "echo early; sleep 60", timeoutMs: 5000 });
assert.deepEqual([late.stdout, late.statusCode], ["early\n", null]);

step("background");
const slow = await vm.exec({ command: "sleep 6; echo slow; exit 4", timeoutMs: 60_000 });
assert.deepEqual([slow.stdout, slow.statusCode], ["slow\n", 4]);

step("files");
await vm.fs.writeFile("/workspace/a b/c.txt", "content");
assert.equal(await vm.fs.readTextFile("/workspace/a b/c.txt"), "content");
const stat = await vm.fs.stat("/workspace/a b/c.txt");
assert.deepEqual([stat.size, stat.isFile, stat.permissions], [7, true, "0600"]);
if (process.env.EMULATOR_USERS !== "no") {
  assert.equal(stat.owner, "root");
  assert.notEqual((await vm.exec("cat '/workspace/a b/c.txt'")).statusCode, 0);
  assert.notEqual((await vm.exec("mkdir /elsewhere")).statusCode, 0);
}
await vm.fs.writeFile("/workspace/a b/c.txt", "#!/bin/sh\necho ran", { mode: 0o755 });
assert.equal((await vm.exec("'/workspace/a b/c.txt'")).stdout, "ran\n");
assert.equal((await vm.fs.stat("/workspace/a b/c.txt")).permissions, "0755");
await vm.fs.mkdir("/workspace/a b/d/e");
const entries = [{ name: "c.txt", kind: "file" }, { name: "d", kind: "directory" }];
assert.deepEqual(await vm.fs.readDir("/workspace/a b"), entries);
await vm.fs.remove("/workspace/a b/d");
assert.equal(await vm.fs.exists("/workspace/a b/d"), false);
assert.equal((await refused(vm.fs.readFile("/workspace/nothing"))).status, 404);
assert.equal((await refused(vm.fs.readFile("relative"))).status, 400);

step("ranges");
await vm.fs.writeFile("/workspace/range", "0123456789");
assert.equal(await vm.fs.readTextFile("/workspace/range", { offset: 7 }), "789");
assert.equal(await vm.fs.readTextFile("/workspace/range", { offset: 2, length: 3 }), "234");
assert.equal((await refused(vm.fs.readFile("/workspace/range", { offset: 10 }))).status, 416);

step("chunked upload");
const large = randomBytes(9 * 1024 * 1024 + 1);
const progress = [];
await vm.fs.writeFile("/workspace/large", large, {
  chunkSize: 4 * 1024 * 1024,
  mode: 0o644,
  onProgress: ({ completedBytes }) => progress.push(completedBytes),
});
assert.equal(progress.length, 3);
assert.equal(progress.at(-1), large.length);
assert.equal(sha256(await vm.fs.readFile("/workspace/large")), sha256(large));
assert.equal((await vm.exec("sha256sum </workspace/large")).stdout.split(" ")[0], sha256(large));

step("pause and start");
assert.equal((await vm.pause()).state, "paused");
assert.equal(await vm.fs.readTextFile("/workspace/range"), "0123456789");
assert.equal((await vm.data()).state, "paused");
assert.equal((await vm.start()).state, "running");
await vm.pause();
assert.equal((await vm.exec("echo woken")).stdout, "woken\n");
assert.equal((await vm.data()).state, "running");

step("resize");
assert.equal((await vm.resize({ cpu: 4, memory: 8192 })).resources.cpu, 4);
assert.equal((await refused(vm.resize({ cpu: 1 }))).status, 400);

step("TLS rule");
// Guests share the host's network.
const server = createServer((request, answer) => answer.end(`served ${request.url}`));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();
const rule = await freestyle.tls.rules.create({
  action: "allow",
  domain: "honest-0123456789.style.dev",
  source: { public: true },
  destination: { vmId: "honest", port },
});
assert.equal(rule.destination.vmId, vmId);
assert.equal((await freestyle.tls.rules.list({ vmId })).totalCount, 1);
const again = { action: "allow", domain: rule.domain, source: { public: true }, destination: { vmId, port } };
assert.equal((await refused(freestyle.tls.rules.create(again))).status, 409);
assert.deepEqual(await through(rule.domain, "/path?q=1"), { status: 200, body: "served /path?q=1" });
assert.equal((await through("nobody.style.dev", "/")).status, 404);
await freestyle.tls.rules.delete(rule.id);
assert.equal((await through(rule.domain, "/")).status, 404);
assert.equal((await vm.firewallRules()).totalCount, 1);
await freestyle.tls.rules.create(again);
server.close();

step("delete");
await vm.delete();
assert.equal((await refused(vm.data())).code, "NOT_FOUND");
assert.equal((await freestyle.tls.rules.list()).totalCount, 0);
assert.equal((await freestyle.firewall.rules.list()).totalCount, 0);
step("done");
