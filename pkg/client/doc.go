// Package client calls a dotmesh server: over TLS as a user with an API key, or
// over the root-only unix socket of a server on the same machine. Every error
// that a call returns is a *dot.Error.
package client
