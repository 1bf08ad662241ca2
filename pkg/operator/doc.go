// Package operator runs the operator: one process of several, the one that holds
// the Lease, in which each concern is a package below this one. Here they are
// wired: what they read (a cache of the operator's namespace, and of nodes,
// PersistentVolumes and VolumeAttachments), what wakes them, and where health and
// metrics are served.
package operator
