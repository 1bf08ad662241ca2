// Package engine keeps the dots of one server's pool: it maps branches and
// commits to datasets and snapshots below the server's root dataset, and makes,
// commits, forks, prepares for mounting, and destroys them. It knows no registry
// and no network.
//
// Everything that a branch or a commit is lies in user properties of its dataset
// or snapshot (properties.go), written in the same command that makes it, so that
// Inventory can tell all of it from the pool alone. Identity is the ZFS GUID and
// order is createtxg. A commit may lie under another branch's dataset than the
// one that it was made on (after a promote), so commits are found through an
// index that Load builds from one listing and that every change keeps.
//
// Every method can be called again after a crash or an error at any point and
// then ends in the same state. Errors that somebody decides on are *dot.Error.
// Nothing is ever rolled back or destroyed recursively.
package engine
