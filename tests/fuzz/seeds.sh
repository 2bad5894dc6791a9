#!/bin/sh
# Makes what the fuzzer begins with from the examples on the wire: corpus/, which is not checked in.
set -eu
cd "$(dirname "$0")"
wire=../../protocol/wire
mkdir -p corpus/lines corpus/message corpus/records
cp "$wire"/*.jsonl corpus/lines/
cat "$wire"/*.jsonl | split -l 1 -a 3 - corpus/message/wire-
cp corpus/message/wire-* corpus/records/
tr -d '\n' >corpus/records/claim <<'END'
{"version":1,"lease":{"id":"cbx_5f3a9c0e71b2","slug":"blue-otter","name":"crabbox-blue-otter-1c9be204",
"ref":"vm-4711","state":{"zone":"a"},"root":"/home/dev/crabbox","labels":{"team":"core"}},
"revision":"1","state":"leased","owner":"user","provider":"acme",
"plugin":{"version":"2.4.0","path":"/usr/bin/crabbox-provider-acme","sha256":"9f86d081"},
"scope":"https://api.acme.example#team-7","credential":"hmac:41f0c2","config":{"size":"large","tags":[null,1.5]},
"secrets":{"token":{"env":"ACME_TOKEN"}},"release":"delete","repoRoot":"/src","target":"linux",
"ssh":{"user":"dev","host":"vm","port":22,"proxyCommand":["nc"],"workRoot":"/work"},
"endpoints":[],"createdAt":"2026-03-01T12:00:00Z","lastUsedAt":"2026-03-01T12:00:01.5Z",
"idleTimeoutMs":1800000,"ttlMs":14400000,"expiresAt":"2026-03-01T16:00:00Z","createSettleMs":60000,
"cleanupGraceMs":0,"missingSince":"2026-03-01T12:00:02Z",
"runs":{"run_81d2c4e0aa17":{"startedAt":"2026-03-01T12:00:01Z","sync":true}}}
END
