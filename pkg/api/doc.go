// Package api is the wire between a dotmesh server and its clients: the
// conversions from the types of pkg/dot to the generated messages of
// dotmesh/v1, and of errors to status codes and back. Nothing here decides
// anything.
package api
