// Package bench compares what the driver does with the bare ZFS commands that it
// cannot do without. Both run on the same machine and pool, interleaved, with the
// same properties, so that the result is a ratio and not a property of the
// machine; a timing of ours ends with the answer of the server, and what the
// server has answered survives its SIGKILL.
//
// Its one test has the build tag "bench" and needs root and ZFS. It prints a
// table and does not fail for being slow. BENCH_DOTS is the number of dots to go
// up to (default 1000, which takes above an hour on an emulated machine).
package bench
