// Package csi is what the controller and the node service of the driver
// dotmesh.csi share: the Identity service, the interceptors that every call
// passes, the sockets, the health endpoints and the registration with kubelet.
//
// The services themselves are in the packages controller and node. They reach
// dots through pkg/client alone; a CSI code or field is spelled nowhere else.
package csi
