// Package certs makes the cluster's CA and certificates, as the Secrets that
// `dotmesh certs` prints, and renews them.
//
// A Secret is the operator's when it carries the label specs.LabelManagedBy;
// any other is the user's and is never written. With a CA of the user's the
// certificates that are missing are signed by it; with certificates of the user's
// and no CA nothing can be made that they would believe, and Missing says so.
//
// What decides is Next, which is pure. Its order lets nobody ever meet a
// certificate that it does not believe:
//
//  1. a CA is written before anything is signed by it;
//  2. its certificate is added to every ca.crt;
//  3. when kubelet has brought that to every pod (Spread), and etcd's members, which
//     read it only at their start, have restarted, certificates are issued by it;
//  4. when those have spread too, older CAs leave ca.crt.
//
// A CA that is renewed keeps its key, so that those who pinned it see no change;
// one that was replaced, or deleted for a new one to be made, goes the same way.
package certs
