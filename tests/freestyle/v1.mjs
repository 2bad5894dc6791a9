// An official SDK of v1, unmodified, against the emulator. Whatever it does not like is a mistake of the emulator.
// The argument: which package. FREESTYLE_BASE_URL: the emulator. FREESTYLE_API_KEY: its key.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";

const packageName = process.argv[2];
const { Freestyle, VmSpec } = await import(packageName);
const baseUrl = process.env.FREESTYLE_BASE_URL;
const freestyle = new Freestyle({ baseUrl });
const newer = packageName === "freestyle-v1";
const step = (name) => console.log(name);

/** The code that a call is refused with, which must be one that the SDK knows. */
async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    assert(!error.message.startsWith("Unknown error code"), error.message);
    return error.constructor.code;
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
const machine = {
  ports: [],
  additionalFiles: { "/opt-tool": { content: "#!/bin/sh\necho tool", executable: true } },
};
const sizes = { vcpuCount: 2, memSizeGb: 4 };
// Of the newer one, what a VM is made of goes into a spec, and names are told.
const options = newer
  ? { name: "crabbox-honest-abcdef", spec: VmSpec.fromRaw({ ...machine, ...sizes }) }
  : { ...machine, template: sizes };
const { vm, vmId, domains } = await freestyle.vms.create({
  ...options,
  idleTimeoutSeconds: 3600,
  persistence: { type: "sticky", priority: 5 },
});
assert.match(vmId, /^[a-z0-9]{20}$/);
assert.deepEqual(domains, []);

step("refusals");
assert.equal(await refused(freestyle.vms.ref({ vmId: "nosuchvm" }).getInfo()), "VM_NOT_FOUND");

step("list and get");
const { vms, totalCount, runningCount } = await freestyle.vms.list();
assert.deepEqual([vms.length, totalCount, runningCount], [1, 1, 1]);
assert.equal(vms[0].id, vmId);
assert.equal((await vm.getInfo()).state, "running");
if (newer) {
  assert.equal(vms[0].name, "crabbox-honest-abcdef");
  assert.deepEqual([vms[0].sizing.vcpuCount, vms[0].sizing.memSizeMib], [2, 4096]);
}

step("exec");
const ran = await vm.exec("pwd; id -u; /opt-tool; echo err >&2; exit 7");
assert.deepEqual([ran.stdout, ran.stderr, ran.statusCode], ["/root\n0\ntool\n", "err\n", 7]);
if (process.env.EMULATOR_USERS !== "no") {
  assert.equal((await vm.user({ username: "ubuntu" }).exec("id -u")).stdout, "1000\n");
}
const late = await vm.exec({ command: "echo early; sleep 60", timeoutMs: 5000 });
assert.deepEqual([late.stdout, late.statusCode], ["early\n", null]);

step("files");
await vm.fs.writeTextFile("/workspace/a b/c.txt", "content");
assert.equal(await vm.fs.readTextFile("/workspace/a b/c.txt"), "content");
assert.equal((await vm.exec("cat '/workspace/a b/c.txt'")).stdout, "content");
const bytes = Buffer.from(Array.from({ length: 256 }, (_, number) => number));
await vm.fs.writeFile("/workspace/bytes", bytes);
assert(bytes.equals(await vm.fs.readFile("/workspace/bytes")));
assert.deepEqual(await vm.fs.readDir("/workspace"), [
  { name: "a b", kind: "directory" },
  { name: "bytes", kind: "file" },
]);
await vm.fs.mkdir("/workspace/deep/er", true);
assert.equal(await vm.fs.exists("/workspace/deep/er"), true);
assert.equal((await vm.fs.stat("/workspace/bytes")).size, 256);
await vm.fs.remove("/workspace/deep", true);
assert.equal(await vm.fs.exists("/workspace/deep"), false);
assert.equal(await refused(vm.fs.readFile("/workspace/nothing")), "FILE_NOT_FOUND");

step("suspend and start");
await vm.suspend();
assert.equal((await vm.getInfo()).state, "suspended");
assert.equal(await refused(vm.exec("true")), "VM_NOT_RUNNING");
await vm.start();
assert.equal((await vm.exec("cat '/workspace/a b/c.txt'")).stdout, "content");
await vm.stop();
assert.equal((await vm.getInfo()).state, "stopped");
await vm.start();
assert.equal((await vm.getInfo()).state, "running");

step("resize");
await vm.resize(newer ? { cpu: 4 } : { vcpuCount: 4 });
if (newer) assert.equal((await freestyle.vms.list()).vms[0].sizing.vcpuCount, 4);

step("mapping");
// Guests share the host's network.
const server = createServer((request, answer) => answer.end(`served ${request.url}`));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();
const domain = `honest-${packageName}.style.dev`;
await freestyle.domains.mappings.create({ domain, vmId, vmPort: port });
assert.deepEqual(await through(domain, "/path"), { status: 200, body: "served /path" });
assert.equal((await freestyle.domains.mappings.list()).mappings[0].vmId, vmId);
await freestyle.domains.mappings.delete({ domain });
assert.equal((await through(domain, "/")).status, 404);
server.close();

step("a port that is published by default, and a create in the background");
const messages = [];
const second = await freestyle.vms.create({ logger: (message) => messages.push(message) });
assert.deepEqual(second.domains, [`${second.vmId}.style.dev`]);

step("delete");
await second.vm.delete();
assert.equal((await freestyle.vms.delete({ vmId })).id, vmId);
assert.equal(await refused(vm.getInfo()), "VM_NOT_FOUND");
step("done");
