// Package server is the data plane: one server serves one pool. It answers the
// API of pkg/api over TLS and, to the CSI node service of its own machine, over
// a root-only unix socket; decides who may use which dot; and changes the
// registry (pkg/store) and the pool (pkg/engine) in an order that a crash at any
// point leaves something that the next try finishes.
//
// The rule of every flow: first a transaction that says what is about to happen,
// then the pool, then a transaction that says that it happened. What is found
// half-done at start is finished or undone (settle.go); what may take long is
// done by one background worker that sleeps when there is nothing to do
// (background.go).
package server
