// Package plan decides what the operator does next: Next maps what was observed
// of the cluster to actions. It is pure and deterministic, and remembers nothing:
// an operator that was killed between any two actions goes on from what it finds.
//
// Two operators may act at once, each on a state that is behind. What keeps that
// safe: a PVC changes by compare-and-set of its resourceVersion, a node loses its
// label by compare-and-set, a pod is deleted by UID, every name follows from what
// the object is for, and a server compares its generation with the registry's
// before it imports a pool.
package plan
