// Package dot is the domain: dots, branches, commits, volumes and pools, their
// names, identities and handles, who may use a dot, and the errors that every
// layer speaks. It is pure: no I/O, no clock, nothing of ours imported.
//
// A dot is a named volume ("namespace/name") that behaves like a git
// repository. It has branches; each branch is one ZFS filesystem with a list of
// commits, each one ZFS snapshot. A subdot is a directory inside a dot. A
// volume is one PersistentVolume's claim on a subdot of a branch.
//
// Values of the name and id types can only be made by their Parse functions
// (or by unmarshalling, which calls them), so whoever holds one need not check
// it again. Their zero value means "none" and prints as "".
package dot
