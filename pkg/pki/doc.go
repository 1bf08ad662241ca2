// Package pki makes the certificates that the parts of a cluster know each other
// by, and the TLS configurations that use them.
//
// A cluster has one CA (ECDSA P-256, 10 years) and leaves below it (1 year). The
// CA's certificate follows the leaf in what a server presents, so that a client
// that pinned the CA's key (Fingerprint) needs no file. What a client
// certificate is for is its Role, the organizational unit of its subject.
//
// The package is pure but for EnsureDir, WriteDir and the TLS configurations,
// which read files. Keys are never logged; types that hold one print as
// "(certificate and key)".
package pki
