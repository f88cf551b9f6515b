// Package faultlab breaks what lies between an adapter and its broker, on
// purpose and on command, and keeps account of what became of the messages. The
// adapters' tests share it; nothing else imports it.
//
//   - [Proxy] stands between client and server and cuts, refuses, stalls,
//     delays, corrupts or rewrites what passes.
//   - [Process] kills, freezes and thaws a process; [Start] runs a function of
//     the test in a process of its own, so that a worker can die of kill -9.
//   - [Server] stops, kills and freezes a real server that scripts/servers runs.
//   - [Ledger] counts what was published, handled and settled through all of
//     it, and names what was lost, repeated or overtaken.
package faultlab
