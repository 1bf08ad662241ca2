// Package clouddisk is a cloud's disks for the nodes of a lab cluster: raw files
// of the host that are plugged into running machines and out again.
//
// As in a cloud, a disk is on one node at a time and stays there while the node
// has no power; it can be taken from such a node, and from one that still uses
// it, which no cloud refuses either and which loses data: each such [Misuse] is
// kept for the tests, which fail on it.
//
// What is recorded here decides, and the machines follow: a machine that boots
// begins with the disks that are recorded as its own.
package clouddisk
