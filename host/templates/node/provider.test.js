"use strict";

const { execFileSync } = require("node:child_process");
const path = require("node:path");
const test = require("node:test");

// What crabbox itself asks of every provider. CRABBOX is where it is, if not on PATH.
test("crabbox plugins check", () => {
  const crabbox = process.env.CRABBOX ?? "crabbox";
  const provider = path.join(__dirname, "crabbox-provider-example");
  execFileSync(crabbox, ["plugins", "check", "--live", provider], { stdio: "inherit" });
});
